"""What runs when: long campaigns only at the level that asks for them, and one test at a time that uses the network."""

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ON_THE_NETWORK = ("integration", "acceptance")
"""Directories whose tests use BACnet's port on addresses of the loopback, and count seconds."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave `nightly` tests out of an ordinary run; left out, not skipped: nothing is missing on this machine.

    Where several processes share the tests (`make test`), one of them has all that use the network.
    """
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in ON_THE_NETWORK:
            item.add_marker(pytest.mark.xdist_group("network"))
    if os.environ.get("BMS_CHAOS_LEVEL") == "nightly":
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("nightly")]
