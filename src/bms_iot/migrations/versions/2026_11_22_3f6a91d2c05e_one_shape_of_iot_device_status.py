"""One shape of iot_device_status.

The table was born twice in the field, by its revision and by `create_all`: they differ in the width of monitoring_status, in how
iot_device_id is unique, and in whether the generated column may be null. Both end as one.

Revision ID: 3f6a91d2c05e
Revises: f0a65dd2e313
Create Date: 2026-11-22 08:00:00

"""

import sqlalchemy as sa
from alembic import op

revision: str = "3f6a91d2c05e"
down_revision: str | None = "f0a65dd2e313"
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = None
row_loss: tuple[str, ...] = ()
object_loss: tuple[str, ...] = ()

STORED = (
    "id, iot_device_id, organization_id, site_id, monitoring_status, mqtt_connection_status, bacnet_connection_status, "
    "cpu_usage_percent, memory_usage_percent, disk_usage_percent, temperature_celsius, uptime_seconds, load_average, "
    "bacnet_devices_connected, bacnet_points_monitored, payload, created_at, updated_at, received_at"
)


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        _rebuild(monitoring_status=12, constraints=(), milliseconds_nullable=True)
    else:
        op.drop_constraint(op.f("uq_iot_device_status_iot_device_id"), "iot_device_status", type_="unique")
        op.drop_index(op.f("ix_iot_device_status_iot_device_id"), "iot_device_status")
        op.alter_column("iot_device_status", "monitoring_status", type_=sa.String(length=12))
        op.alter_column("iot_device_status", "created_at_unix_milli_timestamp", nullable=True)
    op.create_index(op.f("ix_iot_device_status_iot_device_id"), "iot_device_status", ["iot_device_id"], unique=True)


def downgrade() -> None:
    op.get_context().opts["run"].refuse_rows("iot_device_status", "monitoring_status = 'INITIALIZING'")
    if op.get_context().dialect.name == "sqlite":
        unique = sa.UniqueConstraint("iot_device_id", name=op.f("uq_iot_device_status_iot_device_id"))
        _rebuild(monitoring_status=7, constraints=(unique,), milliseconds_nullable=False)
    else:
        # Only -x allow-loss=yes comes here with such a row: PAUSED is what the older release makes least harm with.
        op.execute("UPDATE iot_device_status SET monitoring_status = 'PAUSED' WHERE monitoring_status = 'INITIALIZING'")
        op.drop_index(op.f("ix_iot_device_status_iot_device_id"), "iot_device_status")
        op.alter_column("iot_device_status", "monitoring_status", type_=sa.String(length=7))
        op.alter_column("iot_device_status", "created_at_unix_milli_timestamp", nullable=False)
        op.create_unique_constraint(op.f("uq_iot_device_status_iot_device_id"), "iot_device_status", ["iot_device_id"])
    op.create_index(op.f("ix_iot_device_status_iot_device_id"), "iot_device_status", ["iot_device_id"], unique=False)


def _rebuild(*, monitoring_status: int, constraints: tuple[sa.Constraint, ...], milliseconds_nullable: bool) -> None:
    # By hand: batch mode would insert into the generated column.
    op.create_table(
        "_alembic_tmp_iot_device_status",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("iot_device_id", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("monitoring_status", sa.String(length=monitoring_status), nullable=True),
        sa.Column("mqtt_connection_status", sa.String(length=12), nullable=True),
        sa.Column("bacnet_connection_status", sa.String(length=12), nullable=True),
        sa.Column("cpu_usage_percent", sa.Float(), nullable=True),
        sa.Column("memory_usage_percent", sa.Float(), nullable=True),
        sa.Column("disk_usage_percent", sa.Float(), nullable=True),
        sa.Column("temperature_celsius", sa.Float(), nullable=True),
        sa.Column("uptime_seconds", sa.Integer(), nullable=True),
        sa.Column("load_average", sa.Float(), nullable=True),
        sa.Column("bacnet_devices_connected", sa.Integer(), nullable=True),
        sa.Column("bacnet_points_monitored", sa.Integer(), nullable=True),
        sa.Column("payload", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column(
            "created_at_unix_milli_timestamp",
            sa.BigInteger(),
            sa.Computed("(strftime('%s', created_at) * 1000)", persisted=True),
            nullable=milliseconds_nullable,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iot_device_status")),
        *constraints,
    )
    op.execute(f"INSERT INTO _alembic_tmp_iot_device_status ({STORED}) SELECT {STORED} FROM iot_device_status")
    op.drop_table("iot_device_status")
    op.rename_table("_alembic_tmp_iot_device_status", "iot_device_status")
