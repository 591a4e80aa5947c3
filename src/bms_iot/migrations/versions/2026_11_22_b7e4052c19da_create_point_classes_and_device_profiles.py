"""Create point_classes and device_profiles.

How often a point is read, where somebody chose it on site, and what was learned of each device.

Revision ID: b7e4052c19da
Revises: d94e60a7b318
Create Date: 2026-11-22 19:30:00

"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "b7e4052c19da"
down_revision: str | None = "d94e60a7b318"
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = None
row_loss: tuple[str, ...] = ()
row_loss_on_downgrade: tuple[str, ...] = ("point_classes", "device_profiles")  # kept in the ledger
object_loss: tuple[str, ...] = ()

POINT_CLASSES = sa.table(
    "point_classes",
    sa.column("iot_device_point_id", sa.String()),
    sa.column("polling_class", sa.String()),
    sa.column("created_at", sa.DateTime()),
    sa.column("updated_at", sa.DateTime()),
)
DEVICE_PROFILES = sa.table(
    "device_profiles",
    sa.column("device_instance", sa.BigInteger()),
    sa.column("controller_ip_address", sa.String()),
    sa.column("controller_port", sa.Integer()),
    sa.column("max_apdu", sa.Integer()),
    sa.column("segmentation", sa.String()),
    sa.column("has_rpm", sa.Boolean()),
    sa.column("budget", sa.Integer()),
    sa.column("proven_window", sa.Integer()),
    sa.column("has_cov", sa.Boolean()),
    sa.column("is_list_by_index", sa.Boolean()),
    sa.column("absent_properties", sa.JSON(none_as_null=True)),
    sa.column("learned_at", sa.DateTime()),
    sa.column("updated_at", sa.DateTime()),
)


def upgrade() -> None:
    op.create_table(
        "point_classes",
        sa.Column("iot_device_point_id", sa.String(), nullable=False),
        sa.Column("polling_class", sa.String(length=18), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("iot_device_point_id", name=op.f("pk_point_classes")),
    )
    op.create_table(
        "device_profiles",
        sa.Column("device_instance", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("controller_ip_address", sa.String(), nullable=False),
        sa.Column("controller_port", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("max_apdu", sa.Integer(), nullable=False),
        sa.Column("segmentation", sa.String(), nullable=False),
        sa.Column("has_rpm", sa.Boolean(), nullable=True),
        sa.Column("budget", sa.Integer(), nullable=False),
        sa.Column("proven_window", sa.Integer(), nullable=True),
        sa.Column("has_cov", sa.Boolean(), nullable=True),
        sa.Column("is_list_by_index", sa.Boolean(), nullable=True),
        sa.Column("absent_properties", sa.JSON(), nullable=True),
        sa.Column("learned_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("device_instance", "controller_ip_address", "controller_port", name=op.f("pk_device_profiles")),
    )
    _put_back(POINT_CLASSES)
    _put_back(DEVICE_PROFILES)


def downgrade() -> None:
    run = op.get_context().opts["run"]
    if run.rehearsing:
        run.refuse_rows("point_classes")
        run.refuse_rows("device_profiles")
    else:
        # An image that goes back a release must not lose what was chosen: the ledger keeps the rows until the tables are back.
        _keep(POINT_CLASSES)
        _keep(DEVICE_PROFILES)
    op.drop_table("device_profiles")
    op.drop_table("point_classes")


def _keep(table: sa.TableClause) -> None:
    run = op.get_context().opts["run"]
    rows = op.get_bind().execute(sa.select(table).order_by(*list(table.c)[:3])).mappings().all()
    if rows or run.last(table.name):  # an older entry must not come back instead
        run.record(table.name, rows=[{name: _as_json(value) for name, value in row.items()} for row in rows])


def _put_back(table: sa.TableClause) -> None:
    kept = op.get_context().opts["run"].last(table.name)
    if kept and kept["rows"]:
        moments = {column.name for column in table.c if isinstance(column.type, sa.DateTime)}
        rows = [
            {name: datetime.fromisoformat(v) if v and name in moments else v for name, v in row.items()} for row in kept["rows"]
        ]
        op.bulk_insert(table, rows)


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
