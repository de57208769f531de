"""Commits: commands, groups, and the one committer of a cell."""
