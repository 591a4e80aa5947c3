"""Reading many properties of a device: what it can take, plans, learned layouts, and the tolerant way."""
