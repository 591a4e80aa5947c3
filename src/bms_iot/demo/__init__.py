"""The demo: a simulated building, an embedded broker and the real gateway, on this machine alone."""
