"""Primitives: bytes in, bytes out. FF1, AEAD, key derivation, MAC, signatures, password hashing."""
