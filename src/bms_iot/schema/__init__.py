"""The migration machine: pull the plug at any moment of an upgrade, and it will have happened or not.

It knows Alembic and `bms_iot.database`, nothing of BACnet or MQTT, and could be lifted out of this package. In the order of a run:

commands     the verbs of our own command line
machine      what `migrations/env.py` calls: plain `alembic` takes the same path
transaction  a run, from the lock to the commit
preflight    what a run would do, and whether it can, before anything is changed
rehearsal    the revisions on a schema in memory
shapes       at which revision a database really is
owners       what the database's owner added to it
run          what the machine offers to a revision while it runs
verify       what must hold before the commit
"""
