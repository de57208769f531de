"""Benchmarks. Each prints ratios measured in one run, never bare times from another machine."""
