"""Writing a value, and what the device makes of it (ASHRAE 135 clauses 15.9, 15.10 and 19.2)."""
