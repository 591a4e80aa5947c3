"""`bms-iot db lint`: what a revision must not do."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer


def lint(
    files: Annotated[list[Path] | None, typer.Argument(help="Revision files; all of this release by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check revisions for what goes well on an empty table and wrong on a device. Exits with 1 where it finds something."""
    from bms_iot.authoring.lint import Linter

    findings = Linter().files(files or [])
    if as_json:
        typer.echo(json.dumps([{**dataclasses.asdict(finding), "path": str(finding.path)} for finding in findings]))
    else:
        for finding in findings:
            typer.echo(str(finding))
    if findings:
        raise typer.Exit(1)
