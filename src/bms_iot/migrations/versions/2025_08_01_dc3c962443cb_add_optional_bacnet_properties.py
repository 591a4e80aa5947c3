"""Add optional bacnet properties.

Revision ID: dc3c962443cb
Revises: 7b0d5e1c94aa
Create Date: 2025-08-01 08:00:00

"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "dc3c962443cb"
down_revision: str | None = "7b0d5e1c94aa"
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = None
row_loss: tuple[str, ...] = ()
object_loss: tuple[str, ...] = ()

ADDED: dict[str, sa.types.TypeEngine[Any]] = {
    "min_pres_value": sa.Float(),
    "max_pres_value": sa.Float(),
    "high_limit": sa.Float(),
    "low_limit": sa.Float(),
    "resolution": sa.Float(),
    "priority_array": sa.String(),
    "relinquish_default": sa.Float(),
    "cov_increment": sa.Float(),
    "time_delay": sa.Integer(),
    "time_delay_normal": sa.Integer(),
    "notification_class": sa.Integer(),
    "notify_type": sa.String(),
    "deadband": sa.Float(),
    "limit_enable": sa.String(),
    "event_enable": sa.String(),
    "acked_transitions": sa.String(),
    "event_time_stamps": sa.String(),
    "event_message_texts": sa.String(),
    "event_message_texts_config": sa.String(),
    "event_detection_enable": sa.Boolean(),
    "event_algorithm_inhibit_ref": sa.String(),
    "event_algorithm_inhibit": sa.Boolean(),
    "reliability_evaluation_inhibit": sa.Boolean(),
}

BEFORE = (
    "id",
    "controller_ip_address",
    "controller_port",
    "bacnet_object_type",
    "point_id",
    "iot_device_point_id",
    "controller_id",
    "units",
    "present_value",
    "controller_device_id",
    "is_uploaded",
    "created_at",
    "updated_at",
    "status_flags",
    "event_state",
    "out_of_service",
    "reliability",
    "error_info",
)


def upgrade() -> None:
    for name, kind in ADDED.items():
        op.add_column("controller_points", sa.Column(name, kind, nullable=True))
    op.create_table(
        "deployment_config",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("config_metadata", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment_config")),
    )
    for column in ("device_id", "organization_id", "site_id"):
        op.create_index(op.f(f"ix_deployment_config_{column}"), "deployment_config", [column], unique=False)


def downgrade() -> None:
    run = op.get_context().opts["run"]
    run.refuse_rows("deployment_config")
    run.refuse_rows("controller_points", " OR ".join(f"{name} IS NOT NULL" for name in ADDED))
    op.drop_table("deployment_config")
    if op.get_context().dialect.name != "sqlite":
        for name in ADDED:
            op.drop_column("controller_points", name)
        return
    # One rebuild writes the table once, 23 native DROP COLUMNs 23 times. Batch mode cannot do it on a generated column.
    op.create_table(
        "_alembic_tmp_controller_points",
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
        sa.Column(
            "created_at_unix_milli_timestamp", sa.BigInteger(), sa.Computed("(strftime('%s', created_at) * 1000)", persisted=True)
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_controller_points")),
    )
    columns = ", ".join(BEFORE)
    op.execute(f"INSERT INTO _alembic_tmp_controller_points ({columns}) SELECT {columns} FROM controller_points")
    op.drop_table("controller_points")
    op.rename_table("_alembic_tmp_controller_points", "controller_points")
