"""Create controller points.

Revision ID: 7b0d5e1c94aa
Revises:
Create Date: 2025-07-01 08:00:00

"""

import sqlalchemy as sa
from alembic import op

revision: str = "7b0d5e1c94aa"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = "7b0d5e1c94aa"
row_loss: tuple[str, ...] = ()
object_loss: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "controller_points",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("controller_ip_address", sa.String(), nullable=False),
        sa.Column("controller_port", sa.Integer(), nullable=False),
        sa.Column("bacnet_object_type", sa.String(length=18), nullable=False),
        sa.Column("point_id", sa.Integer(), nullable=False),
        sa.Column("iot_device_point_id", sa.String(), nullable=False),
        sa.Column("controller_id", sa.String(), nullable=False),
        sa.Column("units", sa.String(), nullable=True),
        sa.Column("present_value", sa.String(), nullable=True),
        sa.Column("controller_device_id", sa.String(), nullable=False),
        sa.Column("is_uploaded", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("status_flags", sa.String(), nullable=True),
        sa.Column("event_state", sa.String(), nullable=True),
        sa.Column("out_of_service", sa.Boolean(), nullable=True),
        sa.Column("reliability", sa.String(), nullable=True),
        sa.Column("error_info", sa.String(), nullable=True),
        sa.Column("created_at_unix_milli_timestamp", sa.BigInteger(), sa.Computed(_milliseconds(), persisted=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_controller_points")),
    )


def downgrade() -> None:
    op.get_context().opts["run"].refuse_rows("controller_points")
    op.drop_table("controller_points")


def _milliseconds() -> str:
    if op.get_context().dialect.name == "sqlite":
        return "(strftime('%s', created_at) * 1000)"
    return "(floor(EXTRACT(epoch FROM created_at)))::bigint * 1000"
