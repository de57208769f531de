"""Surrogates: how a value becomes a token and a token a value. Pure."""
