"""Doubles of the original's halves: they do after a failure what the original does, and no more."""
