"""Retention classes and due periods. Pure."""
