"""Verbs, one a module; `gate` is the one enforcement point."""
