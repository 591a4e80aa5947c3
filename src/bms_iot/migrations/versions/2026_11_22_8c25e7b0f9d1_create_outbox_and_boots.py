"""Create outbox and boots.

Revision ID: 8c25e7b0f9d1
Revises: 3f6a91d2c05e
Create Date: 2026-11-22 08:10:00

"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision: str = "8c25e7b0f9d1"
down_revision: str | None = "3f6a91d2c05e"
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = None
row_loss: tuple[str, ...] = ()
row_loss_on_downgrade: tuple[str, ...] = ("boots",)  # kept in the ledger
object_loss: tuple[str, ...] = ()

BOOTS = sa.table(
    "boots", sa.column("boot", sa.BigInteger()), sa.column("started_at", sa.DateTime()), sa.column("version", sa.String())
)


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("boot", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("first_at", sa.DateTime(), nullable=False),
        sa.Column("last_at", sa.DateTime(), nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("boot", "seq", name=op.f("pk_outbox")),
    )
    op.create_table(
        "boots",
        sa.Column("boot", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("boot", name=op.f("pk_boots")),
    )
    kept = op.get_context().opts["run"].last("boots")
    if kept:
        rows = [{**row, "started_at": datetime.fromisoformat(row["started_at"])} for row in kept["rows"]]
        op.bulk_insert(BOOTS, rows)


def downgrade() -> None:
    run = op.get_context().opts["run"]
    run.refuse_rows("outbox")
    if run.rehearsing:
        run.refuse_rows("boots")
    elif rows := op.get_bind().execute(sa.select(BOOTS).order_by(BOOTS.c.boot)).all():
        # A boot number must never come twice: the ledger keeps them until the table is back.
        run.record("boots", rows=[{"boot": r.boot, "started_at": r.started_at.isoformat(), "version": r.version} for r in rows])
    op.drop_table("boots")
    op.drop_table("outbox")
