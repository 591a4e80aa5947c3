"""The linter of revisions: `bms-iot db lint`.

A finding is allowed by `# lint: allow CODE reason` on its line, or on the line above it.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from bms_iot import __version__
from bms_iot.authoring import facts
from bms_iot.authoring.calls import calls_of
from bms_iot.authoring.parsed import Found, Revision
from bms_iot.authoring.rules import RULES
from bms_iot.database import manifest
from bms_iot.errors import SchemaError

_ALLOW = re.compile(r"#\s*lint:\s*allow\s+(\S+)[ \t]*(.*)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """What is wrong in a revision, and what to do. `source` is the line it is about."""

    path: Path
    line: int
    code: str
    message: str
    remedy: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.code}: {self.message}; {self.remedy}"


class Linter:
    """Lints files against the revisions of this package. Raises SchemaError for what is no Python, no chain, or does not run."""

    def __init__(self, script: ScriptDirectory | None = None) -> None:
        self._script = script or _own_script()
        self._facts: dict[str | None, facts.Facts] = {None: facts.Facts()}

    def files(self, paths: Iterable[Path] = ()) -> list[Finding]:
        """The findings of these files, of all revisions where there are none, in order of file and line."""
        return sorted({finding for path in list(paths) or self._chain.values() for finding in self.source(_read(path), path)})

    def source(self, text: str, path: Path) -> Iterator[Finding]:
        """The findings of a revision's source; the file need not exist."""
        revision = self._parsed(text, path)
        lines = text.splitlines()
        allowed = dict(_allowed(text))
        for code, rule in RULES.items():
            for found in rule(revision):
                at = range(getattr(found.node, "lineno", 1) - 1, getattr(found.node, "end_lineno", 1) + 1)
                if not any(code in allowed.get(line, {}) for line in at):
                    yield _finding(path, code, found, lines)
        for line, codes in allowed.items():
            for code, reason in codes.items():
                if code not in RULES or not reason:
                    problem = "has no reason" if code in RULES else f"names {code}, which is none of {', '.join(RULES)}"
                    node = ast.Pass(lineno=line, end_lineno=line)
                    found = Found(node=node, message=f"the exception {problem}", remedy="# lint: allow CODE why it is right here")
                    yield _finding(path, "allow", found, lines)

    def _parsed(self, text: str, path: Path, *, with_siblings: bool = True) -> Revision:
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise SchemaError(f"{path} is no Python: {error}") from error
        values = _top_level(tree)
        own = values.get("revision")
        return Revision(
            revision=own,
            tree=tree,
            upgrade=calls_of(tree, "upgrade"),
            downgrade=calls_of(tree, "downgrade"),
            before=self._at(values.get("down_revision")),
            after=self._at(own) if own in self._chain else facts.Facts(),
            compat_floor=values.get("compat_floor"),
            siblings=tuple(self._siblings(own)) if with_siblings else (),
        )

    def _at(self, revision: str | None) -> facts.Facts:
        if revision not in self._facts:
            with _explained(f"revision {revision} does not run on an empty database"):
                self._facts[revision] = facts.at(self._script, revision) if revision in self._chain else facts.Facts()
        return self._facts[revision]

    def _siblings(self, own: str | None) -> Iterator[Revision]:
        """The other revisions of the release that this one belongs to: the coming one for what is not sealed yet."""
        releases = {entry.revision: entry.release for entry in manifest.load()}
        release = releases.get(own or "", __version__)
        for revision, path in self._chain.items():
            if revision != own and releases.get(revision, __version__) == release:
                yield self._parsed(_read(path), path, with_siblings=False)

    @cached_property
    def _chain(self) -> dict[str, Path]:
        """Files by revision, oldest first."""
        with _explained("the revisions are no chain"):
            return {script.revision: Path(script.path) for script in reversed(list(self._script.walk_revisions()))}


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raises SchemaError for what a half-written revision raises when Alembic loads or runs it."""
    try:
        yield
    except (
        CommandError,
        SQLAlchemyError,
        SyntaxError,
        ImportError,
        LookupError,
        NameError,
        AttributeError,
        TypeError,
        ValueError,
    ) as error:
        raise SchemaError(f"{what}: {type(error).__name__}: {error}") from error


def _own_script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(manifest.MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path} cannot be read: {error}") from error


def _top_level(tree: ast.Module) -> dict[str, str]:
    values: dict[str, str] = {}
    for node in tree.body:
        match node:
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str() as value))
                | ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str() as value))
            ):
                values[name] = value
    return values


def _allowed(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines, with the codes allowed there and why."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (match := _ALLOW.match(token.string)):
            yield token.start[0], {match[1]: match[2].strip()}


def _finding(path: Path, code: str, found: Found, lines: list[str]) -> Finding:
    line = getattr(found.node, "lineno", 1)
    return Finding(path=path, line=line, code=code, message=found.message, remedy=found.remedy, source=lines[line - 1].strip())
