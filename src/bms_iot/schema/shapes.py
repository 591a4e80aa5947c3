"""At which revision a database really is, told by its tables: databases were born without a stamp, and upgrades broke off."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bms_iot.database.fingerprint import Fingerprint, Things, differences, without
from bms_iot.errors import SchemaDrift, UnknownShape
from bms_iot.schema.rehearsal import Shape

FORCE = "to go on all the same: bms-iot db upgrade --allow-drift, or alembic -x allow-drift=yes upgrade head"
_LEFT_OVER = "_alembic_tmp_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The revision whose tables these are, once `mends` have run. `kind` is None when that is what the stamp says."""

    revision: str | None
    kind: str | None = None
    mends: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    """What was overlooked because somebody said so."""


def recognise(
    actual: Fingerprint,
    stamp: str | None,
    shapes: Sequence[Shape],
    rows: Callable[[str], int],
    *,
    is_managed: bool,
    is_forced: bool,
) -> Finding:
    """`actual` is the whole database; `rows` counts those of a table; `is_managed` says that it has had a stamp or a ledger.

    A stamp that fits is believed. Else the oldest revision that fits counts; else what an upgrade that broke off left is mended:
    empty tables that fit nowhere go, columns, indexes and tables that are missing are added, if all on the way there only adds.
    Raises UnknownShape without, SchemaDrift with a stamp, when neither leads anywhere; `is_forced` takes the nearest then.
    """
    ours = {name: things for name, things in actual.items() if any(name in shape.fingerprint for shape in shapes)}
    stamped = next((shape for shape in shapes if shape.revision == stamp), None)
    if stamped is None and not ours:
        if actual and not is_managed and not is_forced:
            raise UnknownShape(
                f"none of the tables is ours, but {', '.join(sorted(actual))} are there; nothing was changed", hint=FORCE
            )
        return Finding(revision=None)
    for shape in (*([stamped] if stamped else ()), *shapes):
        if not _unlike(ours, shape):
            return Finding(revision=shape.revision, kind=None if shape is stamped else "adopt", mends=_drops(actual, rows))
    nearest = stamped or min(shapes, key=lambda shape: len(_unlike(ours, shape)))
    if is_forced:
        kind = None if stamped else "adopt"
        return Finding(revision=nearest.revision, kind=kind, differences=tuple(_unlike(ours, nearest)))
    return _mended(actual, ours, stamped, shapes, rows) or _refuse(_unlike(ours, nearest), nearest, is_stamped=stamped is not None)


def _refuse(unlike: Sequence[str], nearest: Shape, *, is_stamped: bool) -> Finding:
    listed = "; ".join(unlike)
    if is_stamped:
        raise SchemaDrift(f"the database is stamped {nearest.revision}, but {listed}; nothing was changed", hint=FORCE)
    raise UnknownShape(f"no known shape; the nearest is {nearest.revision}, but {listed}; nothing was changed", hint=FORCE)


def _mended(
    actual: Fingerprint, ours: Fingerprint, stamped: Shape | None, shapes: Sequence[Shape], rows: Callable[[str], int]
) -> Finding | None:
    must_stay = stamped.fingerprint if stamped else {}
    for shape in shapes[shapes.index(stamped) if stamped else 0 :]:
        if not shape.is_additive:
            return None
        unfit = [name for name, things in ours.items() if not _fits(name, things, shape, shapes)]
        broken = [name for name, things in must_stay.items() if _loose(things).items() - _loose(ours.get(name, {})).items()]
        if broken or any(name in (must_stay or shapes[0].fingerprint) or rows(name) for name in unfit):
            continue
        left = {name: things for name, things in ours.items() if name not in unfit}
        mends = (*(f'DROP TABLE "{name}"' for name in unfit), *_drops(actual, rows), *_additions(left, shape))
        return Finding(revision=shape.revision, kind="mend", mends=mends)
    return None


def _fits(name: str, things: Things, shape: Shape, shapes: Sequence[Shape]) -> bool:
    """Whether a table has all that it was born with, and nothing that it has not at this revision."""
    whole = shape.fingerprint.get(name)
    if whole is None:
        return False
    born = next(earlier.fingerprint[name] for earlier in shapes if name in earlier.fingerprint)
    own = _loose(without({name: things}, {name: whole})[name])
    at_birth = {thing: text for thing, text in _loose(born).items() if not thing.startswith("index")}
    return at_birth.items() <= own.items() and own.items() <= _loose(whole).items()


def _additions(left: Fingerprint, shape: Shape) -> list[str]:
    mends: list[str] = []
    for name, whole in shape.fingerprint.items():
        if name not in left:
            mends.append(shape.statements[name])
        for thing, text in whole.items():
            if thing.startswith("column") and thing not in left.get(name, whole):
                mends.append(f'ALTER TABLE "{name}" ADD COLUMN {thing.removeprefix("column ")} {text}')
            if thing.startswith("index") and thing not in left.get(name, {}):
                mends.append(shape.statements[thing.removeprefix("index ")])
    return mends


def _drops(actual: Fingerprint, rows: Callable[[str], int]) -> tuple[str, ...]:
    """Copies that a rebuild left behind, when the table they copied is there with all their rows."""
    copies = [(name, name.removeprefix(_LEFT_OVER)) for name in actual if name.startswith(_LEFT_OVER)]
    gone = [copy for copy, table in copies if not rows(copy) or (table in actual and rows(table) >= rows(copy))]
    return tuple(f'DROP TABLE "{name}"' for name in gone)


def _unlike(ours: Fingerprint, shape: Shape) -> list[str]:
    known = {name: _loose(things) for name, things in shape.fingerprint.items()}
    found = {name: _loose(things) for name, things in ours.items()}
    return differences(_sought(without(found, known, tables=frozenset(ours)), known), known)


def _sought(found: Fingerprint, known: Mapping[str, Things]) -> Fingerprint:
    """Without unique indexes of the owner's that no revision has."""
    return {
        name: {thing: text for thing, text in things.items() if not thing.startswith("unique") or thing in known.get(name, {})}
        for name, things in found.items()
    }


def _loose(things: Mapping[str, str]) -> Things:
    """Without what differs between databases born in two ways: widths, how a column is generated, how something is unique."""
    loose = dict(things)
    for thing, text in things.items():
        if thing.startswith("column"):
            loose[thing] = re.sub(r"\(\d+\)|( NOT NULL)?( GENERATED).*", r"\2", text)
        elif thing.startswith("index") and text.startswith("UNIQUE ("):
            loose[thing] = text.removeprefix("UNIQUE ")
            loose[f"unique {loose[thing]}"] = ""
    return loose
