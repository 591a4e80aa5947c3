"""What a developer needs to write a revision; a device in the field uses none of it.

autogenerate  how models and database are compared, and what `alembic revision --autogenerate` writes
shaping       from what Alembic's comparison finds to what a good revision does
facts         what the revisions make: tables, their columns, and what a rebuild of them would lose
calls         the operations of a revision file, in order, read from its source
kinds         column types, and what a change of type loses
parsed        a revision as its source says it
rules         what a revision must not do, by code: rules_of_rows, rules_of_databases
lint          the linter: files in, findings out
printing      `--sql`: prints what revisions do instead of doing it
release       seals the revisions of a release: manifest and golden schemas
"""
