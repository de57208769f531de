"""The client library that agents and the command line use."""
