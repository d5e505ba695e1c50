"""Run by other interpreters as `python -m NAME` from this folder; they import nothing of glassbridge."""
