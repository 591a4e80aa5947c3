"""A copy of the checkout in which a developer may change models and write revisions."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.migration.conftest import ROOT, url

PACKAGE = "bms_iot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """`root` is the copy, `database` the file its commands work on."""

    root: Path
    database: Path

    @classmethod
    def copy(cls, directory: Path) -> "Checkout":
        root = directory / "checkout"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src", root / "src", ignore=ignored)
        shutil.copytree(ROOT / "docs", root / "docs", ignore=ignored)
        shutil.copy(ROOT / "alembic.ini", root)
        shutil.copy(ROOT / "pyproject.toml", root)
        return cls(root=root, database=directory / "bms_bacnet.db")

    @property
    def versions(self) -> Path:
        return self.root / "src" / PACKAGE / "migrations" / "versions"

    def model(self, name: str) -> Path:
        return self.root / "src" / PACKAGE / "models" / f"{name}.py"

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a model's source; `old` is in it exactly once."""
        text = self.model(name).read_text()
        assert text.count(old) == 1
        self.model(name).write_text(text.replace(old, new))

    def shell(self, command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """A command as a developer types it in the checkout's directory, with the virtual environment active."""
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.root.parent),
            "PYTHONPATH": str(self.root / "src"),
            "BMS_DATABASE_URL": url(self.database),
        } | environ
        bash = ["bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(bash, cwd=self.root, env=variables, capture_output=True, text=True, timeout=60, check=False)

    def ok(self, command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        result = self.shell(command, **environ)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        return result

    def autogenerate(self, message: str) -> tuple[Path, str]:
        """`alembic revision --autogenerate`: the new file, and what was said on stderr."""
        before = set(self.versions.glob("*.py"))
        result = self.ok(f'alembic revision --autogenerate -m "{message}"')
        (new,) = set(self.versions.glob("*.py")) - before
        return new, result.stderr
