"""Add remaining tables: iot_device_status, bacnet_config, bacnet_readers.

Revision ID: f0a65dd2e313
Revises: dc3c962443cb
Create Date: 2025-08-15 08:00:00

"""

import sqlalchemy as sa
from alembic import op

revision: str = "f0a65dd2e313"
down_revision: str | None = "dc3c962443cb"
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = None
row_loss: tuple[str, ...] = ()
object_loss: tuple[str, ...] = ()


def upgrade() -> None:
    op.create_table(
        "iot_device_status",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("iot_device_id", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("monitoring_status", sa.String(length=7), nullable=True),
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
        sa.Column("created_at_unix_milli_timestamp", sa.BigInteger(), sa.Computed(_milliseconds(), persisted=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_iot_device_status")),
        sa.UniqueConstraint("iot_device_id", name=op.f("uq_iot_device_status_iot_device_id")),
    )
    op.create_index(op.f("ix_iot_device_status_iot_device_id"), "iot_device_status", ["iot_device_id"], unique=False)
    op.create_table(
        "bacnet_config",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("bacnet_devices", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bacnet_config")),
    )
    op.create_table(
        "bacnet_readers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("iot_device_id", sa.String(), nullable=False),
        sa.Column("ip_address", sa.String(), nullable=False),
        sa.Column("subnet_mask", sa.Integer(), nullable=False),
        sa.Column("bacnet_device_id", sa.Integer(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("bbmd_enabled", sa.Boolean(), nullable=False),
        sa.Column("bbmd_server_ip", sa.String(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("connection_status", sa.String(), nullable=True),
        sa.Column("last_connected_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bacnet_readers")),
    )
    op.create_index(op.f("ix_bacnet_readers_iot_device_id"), "bacnet_readers", ["iot_device_id"], unique=False)


def downgrade() -> None:
    for table in ("bacnet_readers", "bacnet_config", "iot_device_status"):
        op.get_context().opts["run"].refuse_rows(table)
        op.drop_table(table)


def _milliseconds() -> str:
    if op.get_context().dialect.name == "sqlite":
        return "(strftime('%s', created_at) * 1000)"
    return "(floor(EXTRACT(epoch FROM created_at)))::bigint * 1000"
