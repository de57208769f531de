"""Harnesses that run for as long as they are told to: `python -m tests.harness.NAME`."""
