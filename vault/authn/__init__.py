"""Identities as one thing: from a credential to a caller."""
