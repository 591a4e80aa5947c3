"""What a SQLite schema is, whatever the order of its columns and the look of its text: table by table, a line for each thing."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

Things = dict[str, str]
"""`column boot` → `BIGINT NOT NULL PRIMARY KEY 1`; so are checks, uniques, foreign keys, indexes and triggers."""
Fingerprint = dict[str, Things]
"""By the name of the table or view; nothing of SQLite's own, nor of Alembic's and the machine's."""

MACHINERY = frozenset({"alembic_version", "schema_ledger"})
_WORD = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|\w+|[^\s\w]", re.DOTALL)
_CONSTRAINTS = ("constraint", "primary", "unique", "check", "foreign")


def take(connection: sqlite3.Connection) -> Fingerprint:
    """The fingerprint of the main database of any connection."""
    found: Fingerprint = {}
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'index', type = 'trigger'"
    for kind, name, table, sql in connection.execute(query).fetchall():
        if table in MACHINERY or name.startswith("sqlite_"):
            continue
        words = list(_words(sql))
        if kind == "table":
            found[name] = dict(_table(connection, name, words)) if words[1] == "table" else {"virtual": " ".join(words)}
        elif kind == "view":
            found[name] = {"view": " ".join(words)}
        elif kind == "trigger":
            found.setdefault(table, {})[f"trigger {name}"] = " ".join(words[words.index("trigger") :])
        else:
            rest = " ".join(word for word in words[words.index("on", 2) + 2 :] if word != "asc")
            found.setdefault(table, {})[f"index {name}"] = f"{'UNIQUE ' if words[1] == 'unique' else ''}{rest}"
    return found


def differences(actual: Fingerprint, expected: Fingerprint) -> list[str]:
    """In sentences, what `actual` has otherwise than `expected`."""
    return [
        line for name in sorted(actual.keys() | expected.keys()) for line in _compare(name, actual.get(name), expected.get(name))
    ]


def without(actual: Fingerprint, known: Mapping[str, Mapping[str, str]], *, tables: frozenset[str] = frozenset()) -> Fingerprint:
    """`actual` without what its owner added: tables and views that are neither in `known` nor in `tables`, indexes and triggers."""
    return {
        name: {
            thing: text
            for thing, text in things.items()
            if thing in known.get(name, {}) or not thing.startswith(("index", "trigger"))
        }
        for name, things in actual.items()
        if name in known or name in tables
    }


def _compare(name: str, actual: Things | None, expected: Things | None) -> Iterator[str]:
    if actual is None or expected is None:
        yield f"{name} is missing" if actual is None else f"{name} is not part of the schema"
        return
    for thing in sorted(actual.keys() | expected.keys()):
        is_, should = actual.get(thing), expected.get(thing)
        if is_ is None:
            yield f"{thing} of {name} is missing"
        elif should is None:
            yield f"{thing} of {name} is not part of the schema"
        elif is_ != should:
            yield f"{thing} of {name} is {is_ or 'plain'}, not {should or 'plain'}"


def _words(sql: str) -> Iterator[str]:
    """Words and signs, lower-case but for strings; quotes that a name does not need, and comments, are gone."""
    for word in _WORD.findall(sql):
        if word[0] == "'":
            yield word
        elif word[0] in '"`[' and len(word) > 1:
            name = word[1:-1].lower()
            yield name if re.fullmatch(r"[a-z_]\w*", name) else f'"{name}"'
        elif not word.startswith(("--", "/*")):
            yield word.lower()


def _table(connection: sqlite3.Connection, table: str, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    items, tail = _items(words[words.index("(") + 1 :])
    columns = {item[0]: item for item in items if item[0] not in _CONSTRAINTS}
    flags = ["AUTOINCREMENT"] if any("autoincrement" in item for item in columns.values()) else []
    flags += [word for item in items if item[0] not in columns and "primary" in item[:3] for word in _conflicts(item)]
    yield "table", " ".join([*flags, *tail]).upper()
    for _, name, type_, not_null, default, key, hidden in connection.execute(f'PRAGMA table_xinfo("{table}")'):
        item = columns.get(name.lower(), columns.get(f'"{name.lower()}"', ()))
        parts = [type_.upper().removesuffix(" GENERATED ALWAYS")] + ["NOT NULL"] * not_null
        parts += [f"DEFAULT {' '.join(_words(default))}"] if default is not None else []
        parts += [f"PRIMARY KEY {key}"] if key else []
        parts += [f"COLLATE {item[i + 1]}" for i, word in enumerate(item) if word == "collate"]
        parts += (
            [f"GENERATED AS {_group(item, item.index('as') + 1)} {'STORED' if hidden == 3 else 'VIRTUAL'}"] if hidden > 1 else []
        )
        yield f"column {name}", " ".join(parts + _conflicts(item))
    for item in items:
        name = ""
        for i, word in enumerate(item):
            name = item[i + 1] if word == "constraint" else name
            if word == "check":
                text = _group(item, i + 1)
                yield f"check {name or text}", text
    conflicts = {
        _group(item, item.index("(")): " ".join(_conflicts(item)) for item in items if "unique" in item[:3] and "(" in item
    }
    for _, index, _, origin, _ in connection.execute(f'PRAGMA index_list("{table}")').fetchall():
        if origin == "u":
            group = f"( {' , '.join(row[2].lower() for row in connection.execute(f'PRAGMA index_info({_quoted(index)})'))} )"
            yield f"unique {group}", conflicts.get(group, "")
    keys: dict[int, list[tuple[str, ...]]] = {}
    for row in connection.execute(f'PRAGMA foreign_key_list("{table}")'):
        keys.setdefault(row[0], []).append(row[2:])
    for rows in keys.values():
        ours, theirs = ", ".join(row[1] for row in rows), ", ".join(row[2] or "its key" for row in rows)
        yield f"foreign key ({ours})", f"REFERENCES {rows[0][0]} ({theirs}) ON UPDATE {rows[0][3]} ON DELETE {rows[0][4]}"


def _items(words: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The definitions between the outer parentheses, and what follows these."""
    items: list[list[str]] = [[]]
    depth = 0
    for position, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth < 0:
            return items, [word for word in words[position + 1 :] if word != ","]
        if word == "," and depth == 0:
            items.append([])
        else:
            items[-1].append(word)
    return items, []


def _group(words: Sequence[str], start: int) -> str:
    """The text of the parentheses that open at `start`."""
    depth = 0
    for end in range(start, len(words)):
        depth += (words[end] == "(") - (words[end] == ")")
        if depth == 0:
            return " ".join(words[start : end + 1])
    return ""


def _conflicts(words: Sequence[str]) -> list[str]:
    return [f"ON CONFLICT {words[i + 2].upper()}" for i in range(len(words) - 2) if words[i : i + 2] == ["on", "conflict"]]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
