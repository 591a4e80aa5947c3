"""`python -m bms_iot` is `bms-iot`."""

from bms_iot.cli import main

main()
