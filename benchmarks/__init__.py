"""Ratios against a yardstick, measured in the same process or minute: `python -m benchmarks`."""
