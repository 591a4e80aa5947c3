"""What the machine offers to a revision: `op.get_context().opts["run"]`. Released revisions call this, so it only grows."""

from collections.abc import Callable
from typing import Any

from alembic import op
from sqlalchemy import Connection, text

from bms_iot.database import ledger
from bms_iot.errors import SchemaError

Progress = Callable[[int, int, str], None]
"""Is told what is done, how much there is in all, and of what."""
REFUSAL = "bms_refusal"
"""A temporary table of the printed SQL: what is in it at the end undoes everything."""


class Run:
    """One upgrade or downgrade. `rehearsing` says that statements are recorded on an empty schema, to be printed."""

    def __init__(
        self,
        connection: Connection | None,
        *,
        rehearsing: bool = False,
        allow_loss: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        self._connection, self._on_progress = connection, on_progress
        self.rehearsing, self.is_loss_allowed = rehearsing, allow_loss

    def record(self, kind: str, **detail: Any) -> None:
        """Put an entry into the ledger; `detail` must be JSON."""
        if self._connection is not None:
            ledger.append(self._connection, kind, detail)

    def last(self, kind: str) -> dict[str, Any] | None:
        """The newest entry of that kind in the ledger, from this or an earlier run; None when there is none."""
        return None if self._connection is None else ledger.last(self._connection, kind)

    def progress(self, done: int, total: int, what: str) -> None:
        """Say how far a long step is."""
        if self._on_progress is not None:
            self._on_progress(done, total, what)

    def refuse_rows(self, table: str, condition: str = "true") -> None:
        """Stop where such rows exist, since they or their values would be lost. Printed SQL then undoes itself."""
        rows = f"FROM {table} WHERE {condition}"
        if self.rehearsing:
            self._guard(f"{table} has rows that SQL alone cannot carry over", rows)
        elif (connection := self._connection) is not None and (
            count := connection.execute(text(f"SELECT count(*) {rows}")).scalar_one()
        ):
            self.refuse_loss(
                f"{count} rows of {table} would be lost" + ("" if condition == "true" else f" (those with {condition})")
            )

    def refuse_loss(self, message: str) -> None:
        """Raise SchemaError, unless loss was allowed for this run; then the ledger says what was lost."""
        if not self.is_loss_allowed:
            raise SchemaError(
                f"{message}; nothing was changed", hint="to lose them on purpose: -x allow-loss=yes before the command"
            )
        self.record("loss", what=message)

    def _guard(self, reason: str, rows: str) -> None:
        if op.get_context().dialect.name == "sqlite":
            op.execute(f"INSERT INTO temp.{REFUSAL} SELECT '{reason}' WHERE EXISTS (SELECT 1 {rows})")
        else:
            op.execute(f"DO $$ BEGIN IF EXISTS (SELECT 1 {rows}) THEN RAISE EXCEPTION '{reason}'; END IF; END $$")
