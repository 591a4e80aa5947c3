"""`python -m bms_iot.authoring release`."""

import sys

from bms_iot.authoring import release
from bms_iot.errors import BmsError

if sys.argv[1:] != ["release"]:
    sys.stderr.write("usage: python -m bms_iot.authoring release\n")
    raise SystemExit(2)
try:
    sys.stderr.write("".join(f"wrote {file}\n" for file in release.seal()))
except BmsError as error:
    sys.stderr.write(f"bms-iot: {error}\n")
    raise SystemExit(error.exit_code) from error
