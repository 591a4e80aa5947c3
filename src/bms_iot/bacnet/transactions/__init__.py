"""Confirmed requests and their answers (ASHRAE 135 clause 5.4)."""
