"""The words for faults, and what they do to packets."""

import pytest

from bms_iot.simulator import packets
from bms_iot.simulator.faults import Fault, misbehaviour, parse_fault


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("silent", (Fault.SILENT, {})),
        ("slow=0.5", (Fault.SLOW, {"seconds": 0.5})),
        ("truncated-object-list=3", (Fault.TRUNCATED_OBJECT_LIST, {"keep": 3})),
        ("abort=200", (Fault.ABORT, {"octets": 200})),
    ],
)
def test_a_fault_is_spelled_with_its_number(text, meaning):
    assert parse_fault(text) == meaning


@pytest.mark.parametrize("text", ["loud", "", "slow=x", "slow=0", "silent=3", "truncated-object-list=-1", "abort=1.5"])
def test_other_spellings_are_refused(text):
    with pytest.raises(ValueError, match=r"no fault|no number|takes|keeps"):
        parse_fault(text)


def test_every_fault_has_a_behaviour():
    assert [type(misbehaviour(fault)) for fault in Fault]


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match="does not take depth"):
        misbehaviour(Fault.SILENT, depth=3)


def test_the_object_list_is_cut_in_read_property_multiple_too_and_the_rest_is_kept():
    entries = b"".join(bytes.fromhex(f"c4{number:08x}") for number in range(6))
    body = b"\x0c\x02\x00\x07\xd1\x1e\x29\x4c\x4e" + entries + b"\x4f\x29\x4d\x4e\x71\x00\x4f\x1f"
    reply = packets.parse(packets.unicast(b"\x30\x01\x0e" + body))
    assert reply is not None
    altered = misbehaviour(Fault.TRUNCATED_OBJECT_LIST, keep=2).alter(reply)
    assert altered == packets.unicast(b"\x30\x01\x0e" + body.replace(entries, entries[:10]))
