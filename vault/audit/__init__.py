"""Audit events: canonical bytes and leaf hashes. Pure."""
