"""Where figures go: between two marks of a document, with the command, the date and the machine."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def table(rows: dict[str, str]) -> str:
    """A Markdown table of figures."""
    return "\n".join(["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def publish(document: str, name: str, body: str, *, record: bool) -> None:
    """Print the figures; with `record` replace what stands between `<!-- name -->` and `<!-- /name -->` in the document."""
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    text = f"`python -m benchmarks {name} --record` ({where})\n\n{body}"
    print(text)
    if not record:
        return
    path = DOCS / document
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    content, replaced = marked.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", path.read_text(encoding="utf-8"))
    if not replaced:
        raise SystemExit(f"{path} has no marks <!-- {name} --> … <!-- /{name} -->")
    path.write_text(content, encoding="utf-8")
