"""Subscriptions to changes of value (ASHRAE 135 clause 13.1)."""
