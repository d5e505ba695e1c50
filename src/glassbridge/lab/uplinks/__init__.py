"""A phone's audio over bad links in virtual time: coder, sender, order and ledger are real, the link is not."""
