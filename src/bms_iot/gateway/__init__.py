"""What the gateway does, one verb a file: poll, publish, execute, beat, prune; `gateway.py` runs them together."""
