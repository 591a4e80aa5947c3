"""The migration machine: pull the plug at any moment of an upgrade, and it will have happened or not.

It knows Alembic and SQLite, nothing of BACnet or MQTT, and could be lifted out of this package.

gate        may the application start on this file? A plain read, without Alembic
commands    upgrade and status, for our own command line
machine     what `migrations/env.py` calls: plain `alembic` takes the same path
target      which database, as an absolute path
lock        one writer at a time
connection  how the database is opened: to write, to read without leaving a trace, in memory
run         what the machine offers to a revision while it runs
ledger      `schema_ledger`: what was done to this database
verify      what must hold before the commit
offline     `--sql`: rehearse in memory, print what ran
manifest    the released revisions and their hashes
"""
