"""The database as such: files and servers, how they are opened, what is in them, and how they stand to this release.

It runs no revision and does without Alembic. Each of these can be imported alone:

gate         may the application start on this database? A plain read, without SQLAlchemy
manifest     the released revisions, their hashes and golden schemas
inspection   what a person may ask: status, verify, history
target       which database, as an absolute path
readonly     a SQLite file read without leaving a trace
lock         one migration at a time
connection   a SQLite file opened by the migration machine: to write, to read, in memory; and what a revision may not do on it
space        the room that a change of a file needs on disk
snapshot     copies of a file, and putting them back
fingerprint  what a SQLite schema is
ledger       `schema_ledger`: what was done to this database
postgresql   a server, to read and to write
"""
