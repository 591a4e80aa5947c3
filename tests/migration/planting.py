"""Revisions that were never released, on top of the real ones, in a copy of the migrations."""

import textwrap
from pathlib import Path

from bms_iot.database import manifest

TEMPLATE = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{parent}"
{declarations}


def upgrade():
{body}


def downgrade():
    pass
"""


class Orchard:
    """`plant` adds a revision to the end; the bodies are those of `upgrade`, with `op` and `sa` at hand."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._count = directory, 0
        self.head = manifest.head()

    def plant(self, body: str, *, declarations: str = "") -> str:
        self._count += 1
        revision, parent = f"{self._count:012}", self.head
        body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        text = TEMPLATE.format(revision=revision, parent=parent, declarations=declarations, body=body)
        (self._directory / "versions" / f"2099_{revision}.py").write_text(text, encoding="utf-8")
        self.head = revision
        return revision
