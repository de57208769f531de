"""Coatcheck: a value goes in, a ticket comes out, and a grant brings the value back."""

__version__ = "0.1.0"
