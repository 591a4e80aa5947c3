"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

Read this before you ship it. A revision
- imports alembic, sqlalchemy and the standard library, never our own code, which changes while this file may not;
- is tested on populated tables: ADD COLUMN NOT NULL without a server default passes on an empty one only;
- never commits, rolls back or sets a PRAGMA: the whole upgrade is one transaction, opened and verified around it;
- rebuilds by hand (create, INSERT ... SELECT, drop, rename, indexes) where SQLite has a generated column, trigger or view;
- is never edited once released.

`bms-iot db lint` reads it too. What it finds and is right here gets `# lint: allow CODE why` on its line.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision: str = ${repr(up_revision).replace("'", '"')}
down_revision: str | None = ${repr(down_revision).replace("'", '"')}
branch_labels: str | None = ${repr(branch_labels).replace("'", '"')}
depends_on: str | None = ${repr(depends_on).replace("'", '"')}

# None while this only adds: older releases run on as before. Its own id where they no longer can.
compat_floor: str | None = ${context.get("compat_floor", "None")}
# Tables that may have fewer rows afterwards; indexes, triggers and views that are gone on purpose.
row_loss: tuple[str, ...] = ${context.get("row_loss", "()")}
object_loss: tuple[str, ...] = ()
# rewrites = True: it changes rows in a way that its SQL on an empty schema does not show, so a snapshot comes first.
# def verify(connection: sa.Connection) -> list[str]: what is wrong after the upgrade, asked before it is committed.


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass  # what it drops, refuse first: op.get_context().opts[\"run\"].refuse_rows(\"table\", \"column IS NOT NULL\")"}
