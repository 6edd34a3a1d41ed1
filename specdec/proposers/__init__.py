"""Proposers: what guesses the target's next tokens, one file a family."""
