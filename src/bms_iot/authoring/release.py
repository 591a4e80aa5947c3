"""Seals the revisions of a release: their hashes in the manifest, and the schema at each as a golden file."""

import json

from bms_iot.schema import manifest


def write_manifest() -> None:
    """Write `migrations/manifest.json` from the files in `versions/`."""
    entries = [{"revision": r.revision, "file": r.file, "sha256": r.sha256} for r in manifest.compute()]
    manifest.FILE.write_text(json.dumps({"revisions": entries}, indent=2) + "\n", encoding="utf-8")
