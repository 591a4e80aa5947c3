"""Faults at a known place: processes killed at the N-th SQL statement, and disks as a power cut would leave them.

`forking` starts prepared processes, `upgrading` runs `alembic` in them, `recording` writes down what a process does to a directory,
`disk` makes the images a power cut may leave, `content` says what a database holds; `killing` and `cutting` are the campaigns. They
know the commands of the migration machine, not how it works.
"""
