"""`python -m bms_iot.authoring release`."""

import sys

from bms_iot.authoring import release

if sys.argv[1:] != ["release"]:
    sys.stderr.write("usage: python -m bms_iot.authoring release\n")
    raise SystemExit(2)
release.write_manifest()
