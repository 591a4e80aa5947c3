"""The migration machine: pull the plug at any moment of an upgrade, and it will have happened or not.

It knows Alembic, SQLite and PostgreSQL, nothing of BACnet or MQTT, and could be lifted out of this package.

gate         may the application start on this file? A plain read, without Alembic
commands     the verbs of our own command line
machine      what `migrations/env.py` calls: plain `alembic` takes the same path
target       which database, as an absolute path
lock         one writer at a time
connection   how the database is opened: to write, to read, in memory; and what a revision may not do on it
readonly     how it is read without leaving a trace
preflight    what a run would do, and whether it can, before anything is changed
rehearsal    the revisions on a schema in memory
shapes       at which revision a database really is
fingerprint  what a SQLite schema is
snapshot     copies of a database, and putting them back
owners       what the database's owner added to it
run          what the machine offers to a revision while it runs
verify       what must hold before the commit
ledger       `schema_ledger`: what was done to this database
manifest     the released revisions, their hashes and golden schemas
offline      `--sql`: print what a rehearsal ran
postgresql   the same on a server
"""
