"""Which database: one absolute place, whoever asks and from wherever."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from bms_iot.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A database: `path` is its absolute file, None for PostgreSQL; `is_named` is whether somebody chose it."""

    url: URL
    path: Path | None
    is_named: bool = True

    def is_same(self, other: "Target") -> bool:
        """Whether both are one database, by whatever driver."""
        return self.path == other.path if self.path else self.url == other.url

    def ensure_directory(self) -> None:
        """Make our own data directory for a file; one that somebody named must be there: a misspelt one would start empty.

        Raises ConfigurationError.
        """
        if self.path is None or self.path.parent.is_dir():
            return
        directory = self.path.parent
        if self.is_named:
            raise ConfigurationError(f"there is no directory {directory}", hint=f"mkdir -p {directory}, or name another database")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{directory} cannot be made: {error.strerror}", hint="set BMS_DATA_DIRECTORY") from error

    def __str__(self) -> str:
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)


def resolve(url: str, *, relative_to: Path) -> Target:
    """Raises ConfigurationError for a URL that names neither a SQLite file nor a PostgreSQL database."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "the database's URL cannot be read as one", hint="sqlite+aiosqlite:////data/bms_bacnet.db"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
            raise ConfigurationError(f"{url} names no database file", hint="sqlite+aiosqlite:////absolute/path/bms_bacnet.db")
        path = (relative_to / parsed.database).resolve()
        return Target(url=parsed.set(database=str(path)), path=path)
    if backend == "postgresql":
        if "sslmode" in parsed.query:
            raise ConfigurationError("asyncpg does not know sslmode in a database's URL", hint="write ssl=require instead")
        return Target(url=parsed.set(drivername="postgresql+asyncpg"), path=None)
    raise ConfigurationError(f"the database is SQLite or PostgreSQL, not {backend}")


def choose(settings: Callable[[], tuple[str, bool]], *, ini_url: str | None, ini_file: str | None) -> Target:
    """The settings' database, or the one `sqlalchemy.url` names in alembic.ini where the settings say nothing.

    Raises ConfigurationError when both name one and they differ.
    """
    ini = resolve(ini_url, relative_to=Path(ini_file or ".").resolve().parent) if ini_url else None
    try:
        url, is_explicit = settings()
    except ConfigurationError:
        if ini is not None:  # a stray older database is no matter where the ini says which one is meant
            return ini
        raise
    chosen = replace(resolve(url, relative_to=Path.cwd()), is_named=is_explicit)
    if ini is None or ini.is_same(chosen):
        return chosen
    if is_explicit:
        raise ConfigurationError(f"sqlalchemy.url in {ini_file} names {ini}, the settings name {chosen}", hint="unset one of them")
    return ini
