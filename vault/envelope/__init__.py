"""Sealed messages: the byte format `ve1`. Pure."""
