"""Fakes of servers that cannot be had here: each says what it imitates, and what of it it does not."""
