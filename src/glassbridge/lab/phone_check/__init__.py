"""The examiner of a phone: plays cloud and LiveKit, breaks things, says which documented promises the phone keeps.

seen.py        what was seen in one act: plain records
ledger.py      which samples of an epoch came
stage.py       the cloud that the phone meets; ears.py: the examiner's place in the LiveKit room
acts.py        what is done to the phone: a table of acts
promises.py    what is expected: a table of promises, each with a judge over what was seen
subject.py     the phone: a command, or a page in Chromium
examine.py     acts, then judges
"""
