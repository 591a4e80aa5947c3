"""One row per point.

The field has one row per reading. The newest row of each point stays, with its id; readings never uploaded become messages of the
outbox; ids shared by several points are made different; the configurations follow. docs/decisions/0010-fold.md says how and why.
Nothing here grows with the number of rows, only with the number of points.

Revision ID: d94e60a7b318
Revises: 8c25e7b0f9d1
Create Date: 2026-11-22 08:20:00

"""

import json
import math
import re
import uuid
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "d94e60a7b318"
down_revision: str | None = "8c25e7b0f9d1"
branch_labels: str | None = None
depends_on: str | None = None

compat_floor: str | None = "d94e60a7b318"  # older releases insert a row per reading
row_loss: tuple[str, ...] = ("controller_points",)
row_loss_on_downgrade: tuple[str, ...] = ("outbox",)
object_loss: tuple[str, ...] = ()

DEFAULT_PORT = 47808
PAGE = 500
MESSAGES_AT_ONCE = 20
READINGS_PER_MESSAGE = 50
WIRE_BYTES = 64 * 1024
WIRE_OVERHEAD = 200  # value, quality, acquired_at and created_at_unix_milli_timestamp, which no column holds
POINTS_IN_MEMORY = 4096
NOT_FINITE = {"nan", "inf", "-inf", "infinity", "-infinity"}
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the tables hold naive UTC
MICROSECOND = timedelta(microseconds=1)

TYPES = [
    "ANALOG_INPUT",
    "ANALOG_OUTPUT",
    "ANALOG_VALUE",
    "BINARY_INPUT",
    "BINARY_OUTPUT",
    "BINARY_VALUE",
    "MULTI_STATE_INPUT",
    "MULTI_STATE_OUTPUT",
    "MULTI_STATE_VALUE",
]
BASE = [
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
]
OPTIONAL: dict[str, sa.types.TypeEngine[Any]] = {
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
OBJECTS = [
    "priority_array",
    "limit_enable",
    "event_enable",
    "acked_transitions",
    "event_time_stamps",
    "event_message_texts",
    "event_message_texts_config",
    "event_algorithm_inhibit_ref",
]
STORED = [*BASE, *OPTIONAL]
CARRIED = ["id", "controller_ip_address", "controller_port", "iot_device_point_id", "controller_id", "units", *OPTIONAL]
"""What a reading takes from its point's row unless it carries its own."""

FLAGS = {"in-alarm": 1, "fault": 2, "overridden": 4, "out-of-service": 8}
DEFAULTS: tuple[Any, ...] = (None, 0, None, "g", 0, "normal", False, "no-fault-detected", None, {})

OUTBOX = sa.table(
    "outbox",
    sa.column("boot", sa.BigInteger()),
    sa.column("seq", sa.Integer()),
    sa.column("created_at", sa.DateTime()),
    sa.column("first_at", sa.DateTime()),
    sa.column("last_at", sa.DateTime()),
    sa.column("readings", sa.Integer()),
    sa.column("payload", sa.LargeBinary()),
)
POINTS = sa.table(
    "controller_points",
    *(sa.column(name) for name in STORED if name not in ("created_at", "updated_at")),
    sa.column("created_at", sa.DateTime()),
    sa.column("updated_at", sa.DateTime()),
)

Run = Any
Values = dict[str, Any]
Controller = tuple[str, str]
"""(controller_id, device instance)"""
Key = tuple[str, str, str, int]
"""(controller_id, device instance, object type's NAME, object instance)"""


def upgrade() -> None:
    run, bind = op.get_context().opts["run"], op.get_bind()
    if run.rehearsing:
        for table in ("controller_points", "bacnet_config"):
            run.refuse_rows(table)
        fold = Fold()
    else:
        fold = survey(bind)
    if fold.rows:
        unsent = bind.execute(sa.text("SELECT count(*) FROM controller_points WHERE NOT is_uploaded")).scalar_one()
        report_controllers(run, fold)
        rename_shared(bind, run, fold)
        sent = enqueue(bind, run, fold, unsent)
        rewrite_configurations(bind, run, fold)
        run.record("fold", rows=fold.rows, points=len(fold.kept), folded_away=fold.uploaded - fold.kept_uploaded, **sent)
    keep(bind, fold)
    op.create_index(
        op.f("uq_controller_points_identity"),
        "controller_points",
        ["controller_device_id", "controller_ip_address", "controller_port", "bacnet_object_type", "point_id"],
        unique=True,
    )
    op.create_index(op.f("ix_controller_points_iot_device_point_id"), "controller_points", ["iot_device_point_id"], unique=True)


def downgrade() -> None:
    run, bind = op.get_context().opts["run"], op.get_bind()
    op.drop_index(op.f("ix_controller_points_iot_device_point_id"), "controller_points")
    op.drop_index(op.f("uq_controller_points_identity"), "controller_points")
    op.execute("UPDATE controller_points SET is_uploaded = true WHERE NOT is_uploaded")
    if run.rehearsing:
        run.refuse_rows("outbox")
    else:
        unfold(bind, run)


def verify(connection: sa.Connection) -> Iterable[str]:
    """What is wrong after the upgrade, in sentences."""
    counted = connection.execute(sa.text("SELECT count(*) FROM controller_points WHERE NOT is_uploaded")).scalar_one()
    if counted:
        yield f"{counted} rows of controller_points still wait for their upload"


@dataclass
class Fold:
    """What one pass over the rows found out: the row that stays for each point, and where each controller is now."""

    rows: int = 0
    uploaded: int = 0
    kept_uploaded: int = 0
    last_id: int = 0
    controllers: dict[Controller, tuple[Any, int, str, int]] = field(default_factory=dict)
    """Newest (created_at, id, address, port)."""
    addresses: dict[Controller, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    keeper: dict[Key, int] = field(default_factory=dict)
    kept: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Id → address and port it has from now on."""
    ids: dict[int, str] = field(default_factory=dict)
    """Id → the cloud's id of the point from now on."""


def pages(bind: sa.Connection, query: str, start: Values, order: Callable[[Any], Values]) -> Iterator[Any]:
    """Rows of a keyset query, read a page at a time so that other statements may run in between."""
    bound: Values | None = start
    while bound is not None:
        rows = bind.execute(sa.text(f"{query} LIMIT {PAGE}"), bound).all()
        yield from rows
        bound = order(rows[-1]) if len(rows) == PAGE else None


def survey(bind: sa.Connection) -> Fold:
    fold = Fold()
    newest: dict[Key, tuple[Any, int, bool]] = {}
    query = (
        "SELECT id, created_at, controller_id, controller_device_id, controller_ip_address, controller_port, bacnet_object_type, "
        "point_id, is_uploaded FROM controller_points WHERE id > CAST(:id AS BIGINT) ORDER BY id"
    )
    for row in pages(bind, query, {"id": -(2**63)}, lambda row: {"id": row.id}):
        id_, created_at, controller_id, device, host, port, type_, instance, is_uploaded = row
        fold.rows += 1
        fold.uploaded += bool(is_uploaded)
        fold.last_id = id_
        controller, key = (controller_id, device), (controller_id, device, type_, instance)
        if controller not in fold.controllers or (created_at, id_) > fold.controllers[controller][:2]:
            fold.controllers[controller] = (created_at, id_, host, port)
        fold.addresses[controller].add((host, port))
        if key not in newest or (created_at, id_) > newest[key][:2]:
            newest[key] = (created_at, id_, bool(is_uploaded))
    # Two controllers of the cloud at one address with one device instance are one device: its points are told apart by neither.
    places: dict[tuple[str, str, int, str, int], list[Key]] = defaultdict(list)
    for key in newest:
        controller_id, device, type_, instance = key
        places[(device, *fold.controllers[controller_id, device][2:], type_, instance)].append(key)
    for (_, host, port, _, _), keys in places.items():
        _, id_, is_uploaded = max(newest[key] for key in keys)
        fold.kept[id_] = (host, port)
        fold.kept_uploaded += is_uploaded
        fold.keeper.update(dict.fromkeys(keys, id_))
    return fold


def report_controllers(run: Run, fold: Fold) -> None:
    """Put into the ledger which controllers moved, and which device instances belong to several controllers of the cloud."""
    by_device: dict[str, list[str]] = defaultdict(list)
    for (controller_id, device), (_, _, host, port) in sorted(fold.controllers.items()):
        by_device[device].append(controller_id)
        if earlier := sorted(fold.addresses[controller_id, device] - {(host, port)}):
            run.record("move", controller_id=controller_id, controller_device_id=device, old=earlier, new=[host, port])
    for device, controller_ids in by_device.items():
        if len(controller_ids) > 1:
            places = [[controller_id, *fold.controllers[controller_id, device][2:]] for controller_id in controller_ids]
            run.record("conflict", controller_device_id=device, controllers=places)


def rename_shared(bind: sa.Connection, run: Run, fold: Fold) -> None:
    """Where points share an id of the cloud, all but the first get their own."""
    holders: dict[str, list[tuple[Key, int]]] = defaultdict(list)
    query = (
        "SELECT id, iot_device_point_id, controller_id, controller_device_id, bacnet_object_type, point_id "
        "FROM controller_points WHERE id IN :ids"
    )
    for id_, shared, *key in in_chunks(bind, query, fold.kept):
        holders[shared].append(((key[0], key[1], key[2], key[3]), id_))
    taken = set(holders)
    for shared in sorted(holders):
        first, *others = sorted(holders[shared], key=lambda holder: (rank(holder[0]), holder[1]))
        fold.ids[first[1]] = shared
        for key, id_ in others:
            fold.ids[id_] = new_id(key, taken)
            taken.add(fold.ids[id_])
            run.record("rekey", old=shared, new=fold.ids[id_], **described(key))


def rank(key: Key) -> tuple[Any, ...]:
    """Who keeps a shared id: the first object type, then the lowest device instance; the rest only makes it certain."""
    controller_id, device, type_, instance = key
    order = TYPES.index(type_) if type_ in TYPES else len(TYPES)
    return (order, int(device) if device.isdigit() else math.inf, type_, instance, controller_id, device)


def new_id(key: Key, taken: Container[str]) -> str:
    controller_id, device, type_, instance = key
    name = f"{controller_id}-{device}-{camel(type_)}-{instance}"
    candidate, attempt = name, 1
    while (made := str(uuid.uuid5(uuid.NAMESPACE_URL, candidate))) in taken:
        attempt += 1
        candidate = f"{name}-{attempt}"
    return made


def camel(type_: str) -> str:
    first, *rest = type_.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def described(key: Key) -> Values:
    controller_id, device, type_, instance = key
    return {
        "controller_id": controller_id,
        "controller_device_id": device,
        "bacnet_object_type": camel(type_),
        "point_id": instance,
    }


def enqueue(bind: sa.Connection, run: Run, fold: Fold, unsent: int) -> Values:
    """Put every reading not uploaded into the outbox, in order of time; returns how many and under which seq."""
    only = sa.text("NOT is_uploaded")
    op.create_index("fold_order", "controller_points", ["created_at", "id"], sqlite_where=only, postgresql_where=only)
    used = bind.execute(sa.text("SELECT max(seq) FROM outbox WHERE boot = 0")).scalar() or 0
    first = max(used, (run.last("fold") or {}).get("last_seq", 0)) + 1
    now = datetime.now(UTC).replace(tzinfo=None)
    seq, done, waiting = first, 0, []
    for message in messages(bind, fold):
        waiting.append({**message, "boot": 0, "seq": seq, "created_at": now})
        seq, done = seq + 1, done + message["readings"]
        if len(waiting) == MESSAGES_AT_ONCE:
            bind.execute(OUTBOX.insert(), waiting)
            waiting = []
            run.progress(done, unsent, "readings")
    if waiting:
        bind.execute(OUTBOX.insert(), waiting)
    op.drop_index("fold_order", "controller_points")
    if done != unsent:
        raise RuntimeError(f"{unsent} readings wait in controller_points, {done} were put into the outbox")
    return {"readings": done, "messages": seq - first, "first_seq": first, "last_seq": seq - 1, "last_id": fold.last_id}


def messages(bind: sa.Connection, fold: Fold) -> Iterator[Values]:
    """Rows of the outbox, without their keys: at most 50 readings each, and fewer where the wire would grow too long."""
    points: dict[int, tuple[Values, int]] = {}
    moments: list[datetime] = []
    readings: list[list[Any]] = []
    size = 0
    query = f"SELECT {', '.join(STORED)} FROM controller_points WHERE NOT is_uploaded"
    after = f"{query} AND (created_at, id) > (:created_at, :id) ORDER BY created_at, id"
    oldest = bind.execute(sa.text(f"{query} ORDER BY created_at, id LIMIT 1")).first()
    if oldest is None:
        return
    start = {"created_at": oldest.created_at, "id": oldest.id - 1}
    for row in pages(bind, after, start, lambda row: {"created_at": row.created_at, "id": row.id}):
        values = dict(zip(STORED, row, strict=True))
        id_ = fold.keeper[key_of(values)]
        if id_ not in points:
            if len(points) == POINTS_IN_MEMORY:
                points.clear()
            points[id_] = kept_point(bind, fold, id_)
        moment = moment_of(values["created_at"], moments[-1] if moments else EPOCH)
        reading, own = compact(values, points[id_][0])
        if readings and (len(readings) == READINGS_PER_MESSAGE or size + points[id_][1] + own > WIRE_BYTES):
            yield packed(moments, readings)
            moments, readings, size = [], [], 0
        moments.append(moment)
        readings.append([id_, *reading])
        size += points[id_][1] + own
    yield packed(moments, readings)


def kept_point(bind: sa.Connection, fold: Fold, id_: int) -> tuple[Values, int]:
    """The row of a point as it will be, and about how many octets it has on the wire."""
    row = bind.execute(sa.text(f"SELECT {', '.join(STORED)} FROM controller_points WHERE id = :id"), {"id": id_}).one()
    values = dict(zip(STORED, row, strict=True))
    values["controller_ip_address"], values["controller_port"] = fold.kept[id_]
    values["iot_device_point_id"] = fold.ids[id_]
    shown = {name: value for name, value in values.items() if value is not None or name in BASE}
    return values, len(dumps(shown)) + WIRE_OVERHEAD


def compact(values: Values, point: Values) -> tuple[list[Any], int]:
    """A reading without its first two positions, and the length of the columns it carries itself."""
    carried = {name: plain(name, values[name]) for name in CARRIED if values[name] != point[name]}
    if values["updated_at"] != values["created_at"]:
        carried["updated_at"] = zulu(values["updated_at"])
    flags = [flag for flag in (values["status_flags"] or "").split(";") if flag]
    if not FLAGS.keys() >= set(flags):
        carried["status_flags"] = flags
    error = plain("error_info", values["error_info"])
    if is_error := isinstance(error, dict) and error.keys() == {"error_class", "error_code"}:
        error = [error["error_class"], error["error_code"]]
    elif error is not None:
        carried["error_info"], error = error, None
    value = values["present_value"]
    quality = "g"
    if value is None or is_error:
        quality = "b"
    elif str(value).lower() in NOT_FINITE:
        quality = "u"
    row = [
        value,
        quality,
        sum({FLAGS[flag] for flag in flags if flag in FLAGS}),
        values["event_state"],
        plain("out_of_service", values["out_of_service"]),
        values["reliability"],
        error,
        carried,
    ]
    while len(row) > 1 and row[-1] == DEFAULTS[len(row) + 1] and type(row[-1]) is type(DEFAULTS[len(row) + 1]):
        row.pop()
    return row, len(dumps(carried)) if carried else 0


def packed(moments: list[datetime], readings: list[list[Any]]) -> Values:
    start = (moments[0] - EPOCH) // MICROSECOND
    for moment, reading in zip(moments, readings, strict=True):
        reading.insert(1, (moment - EPOCH) // MICROSECOND - start)
    text = dumps({"v": 1, "t": start, "r": readings})
    return {
        "first_at": min(moments),
        "last_at": max(moments),
        "readings": len(readings),
        "payload": zlib.compress(text.encode(), 6),
    }


def dumps(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def plain(name: str, value: Any) -> Any:
    """A column's value as JSON has it: objects for the columns that hold JSON as text, where they do."""
    if value is None:
        return None
    if name == "out_of_service" or isinstance(OPTIONAL.get(name), sa.Boolean):
        return bool(value)
    if name in OBJECTS or name == "error_info":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def moment_of(value: Any, otherwise: datetime) -> datetime:
    """Naive UTC; a text that is no date takes the time of the row before it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return otherwise
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def zulu(value: Any) -> str:
    return f"{value.replace(' ', 'T') if isinstance(value, str) else value.isoformat()}Z"


def key_of(values: Values) -> Key:
    return values["controller_id"], values["controller_device_id"], values["bacnet_object_type"], values["point_id"]


def in_chunks(bind: sa.Connection, query: str, ids: Iterable[int]) -> Iterator[Any]:
    """Run a query with `:ids` for all of the ids; yields the rows it returns, if it does."""
    statement = sa.text(query).bindparams(sa.bindparam("ids", expanding=True))
    remaining = iter(ids)
    while chunk := list(islice(remaining, PAGE)):
        result = bind.execute(statement, {"ids": chunk})
        if result.returns_rows:
            yield from result.all()


def keep(bind: sa.Connection, fold: Fold) -> None:
    """Leave one row for each point, with its new address and id."""
    table = "controller_points"
    if op.get_context().dialect.name == "sqlite":
        # A new small table and a dropped big one: deleting would write every page of the big one to the journal first.
        table = "_alembic_tmp_controller_points"
        create_table(table)
        columns = ", ".join(STORED)
        chosen = columns.replace("is_uploaded", "true")
        query = f"INSERT INTO {table} ({columns}) SELECT {chosen} FROM controller_points WHERE id IN :ids"
        deque(in_chunks(bind, query, fold.kept))
    elif fold.kept:
        bind.execute(sa.text("CREATE TEMPORARY TABLE fold_kept (id INTEGER PRIMARY KEY) ON COMMIT DROP"))
        bind.execute(sa.text("INSERT INTO fold_kept VALUES (:id)"), [{"id": id_} for id_ in fold.kept])
        bind.execute(sa.text("DELETE FROM controller_points WHERE id NOT IN (SELECT id FROM fold_kept)"))
        bind.execute(sa.text("UPDATE controller_points SET is_uploaded = true"))
    if fold.kept:
        bind.execute(
            sa.text(
                f"UPDATE {table} SET controller_ip_address = :host, controller_port = :port, iot_device_point_id = :key "
                "WHERE id = :id"
            ),
            [{"id": id_, "host": host, "port": port, "key": fold.ids[id_]} for id_, (host, port) in fold.kept.items()],
        )
    if table != "controller_points":
        op.drop_table("controller_points")
        op.rename_table(table, "controller_points")


def create_table(name: str) -> None:
    op.create_table(
        name,
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
        *(sa.Column(column, kind, nullable=True) for column, kind in OPTIONAL.items()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_controller_points")),
    )


def rewrite_configurations(bind: sa.Connection, run: Run, fold: Fold) -> None:
    """Make the JSON of `bacnet_config` agree with the points; the newest is first, what cannot be read stays as it is."""
    points = {key: fold.ids[id_] for key, id_ in fold.keeper.items()}
    owners: dict[str, Key] = {fold.ids[id_]: key for key, id_ in fold.keeper.items()}
    claims: dict[Key, str] = {}
    for id_ in bind.execute(sa.text("SELECT id FROM bacnet_config ORDER BY created_at DESC, id DESC")).scalars().all():
        query = "SELECT CAST(bacnet_devices AS TEXT), created_at, updated_at FROM bacnet_config WHERE id = :id"
        text, created_at, updated_at = bind.execute(sa.text(query), {"id": id_}).one()
        try:
            devices = json.loads(text or "null")
        except ValueError:
            continue
        before = dumps(devices)
        unknown: list[tuple[Key, Values]] = []
        for device in devices if isinstance(devices, list) else ():
            if isinstance(device, dict) and "controller_id" in device and "device_id" in device:
                controller = str(device["controller_id"]), str(device["device_id"])
                readdress(device, fold.controllers.get(controller), max(created_at, updated_at))
                for key, item in objects(device, controller):
                    if key in points:
                        item["iot_device_point_id"] = points[key]
                    elif isinstance(item.get("iot_device_point_id"), str):
                        unknown.append((key, item))
        for key, item in sorted(unknown, key=lambda entry: rank(entry[0])):
            old = item["iot_device_point_id"]
            if owners.setdefault(old, key) != key:
                if key not in claims:
                    claims[key] = new_id(key, owners)
                    owners[claims[key]] = key
                    run.record("rekey", old=old, new=claims[key], **described(key))
                item["iot_device_point_id"] = claims[key]
        if dumps(devices) != before:
            column = ":text" if op.get_context().dialect.name == "sqlite" else "CAST(:text AS JSON)"
            query = f"UPDATE bacnet_config SET bacnet_devices = {column} WHERE id = :id"
            bind.execute(sa.text(query), {"id": id_, "text": json.dumps(devices)})


def readdress(device: Values, newest: tuple[Any, int, str, int] | None, configured_at: Any) -> None:
    """Give a configured controller the address its rows have, where they are newer."""
    if newest is None:
        return
    seen_at, _, host, port = newest
    if seen_at > configured_at and (device.get("controller_ip_address"), device.get("controller_port", port)) != (host, port):
        device["controller_ip_address"] = host
        if "controller_port" in device:
            device["controller_port"] = port
    if port != DEFAULT_PORT and device.get("controller_ip_address") == host:
        device.setdefault("controller_port", port)


def objects(device: Values, controller: Controller) -> Iterator[tuple[Key, Values]]:
    listed = device.get("object_list")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict) and isinstance(item.get("type"), str) and str(item.get("point_id")).isdigit():
            type_ = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", item["type"]).replace("-", "_").upper()
            yield (*controller, type_, int(item["point_id"])), item


def unfold(bind: sa.Connection, run: Run) -> None:
    """Put the readings of the outbox back as rows that wait; the point's own row waits where it is that reading."""
    highest = bind.execute(sa.text("SELECT max(id) FROM controller_points")).scalar() or 0
    free = max(highest, (run.last("fold") or {}).get("last_id", 0)) + 1
    query = "SELECT boot, seq, payload FROM outbox WHERE (boot, seq) > (:boot, :seq) ORDER BY boot, seq"
    lost = restored = 0
    for message in pages(bind, query, {"boot": -1, "seq": 0}, lambda row: {"boot": row.boot, "seq": row.seq}):
        body = json.loads(zlib.decompress(message.payload))
        for reading in body["r"]:
            image = bind.execute(sa.text("SELECT * FROM controller_points WHERE id = :id"), {"id": reading[0]}).mappings().first()
            if image is None:
                lost += 1
                continue
            row = restored_row(dict(image), body["t"], [*reading, *DEFAULTS[len(reading) :]])
            restored += 1
            if row["id"] == image["id"] and moment_of(image["created_at"], EPOCH) == row["created_at"]:
                bind.execute(sa.text("UPDATE controller_points SET is_uploaded = false WHERE id = :id"), {"id": image["id"]})
                continue
            if bind.execute(sa.text("SELECT 1 FROM controller_points WHERE id = :id"), {"id": row["id"]}).first():
                row["id"], free = free, free + 1
            bind.execute(POINTS.insert(), row)
    if lost:
        run.refuse_loss(f"{lost} readings of the outbox belong to points that are no longer in controller_points")
    bind.execute(sa.text("DELETE FROM outbox"))
    if op.get_context().dialect.name == "postgresql":
        sequence = "pg_get_serial_sequence('controller_points', 'id')"
        bind.execute(sa.text(f"SELECT setval({sequence}, greatest(1, (SELECT max(id) FROM controller_points)))"))
    run.record("unfold", readings=restored)


def restored_row(image: Values, start: int, reading: list[Any]) -> Values:
    _, offset, value, _, flags, event_state, out_of_service, reliability, error, carried = reading
    moment = EPOCH + timedelta(microseconds=start + offset)
    row = {name: image[name] for name in STORED}
    row |= {
        "present_value": value,
        "status_flags": ";".join(flag for flag, bit in FLAGS.items() if flags & bit) or None,
        "event_state": event_state,
        "out_of_service": out_of_service,
        "reliability": reliability,
        "error_info": None if error is None else json.dumps({"error_class": error[0], "error_code": error[1]}),
        "created_at": moment,
        "updated_at": moment,
        "is_uploaded": False,
    }
    for name, own in carried.items():
        if name == "updated_at":
            row[name] = moment_of(own, moment)
        elif name == "status_flags":
            row[name] = ";".join(own)
        else:
            row[name] = json.dumps(own) if isinstance(own, dict | list) else own
    return row
