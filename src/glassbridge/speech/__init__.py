"""Recognisers behind one small interface."""
