"""`glassbridge bench peers`: other ways to hear a phone through LiveKit, under the same faults at the same time.

ears/ are programs for interpreters of their own (venvs.py), which have the peers' packages and nothing of ours.
"""
