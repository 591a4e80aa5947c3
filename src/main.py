"""`python -m src.main` from a checkout is `bms-iot run`."""

from bms_iot.cli import main

main(["run"])
