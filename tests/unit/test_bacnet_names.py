"""The standard's names, checked against another stack's."""

from collections.abc import Mapping
from typing import Any

import pytest
from bacpypes3.apdu import AbortReason, RejectReason
from bacpypes3.basetypes import EngineeringUnits, ErrorClass, ErrorCode, EventState, NotifyType, PropertyIdentifier, Reliability
from bacpypes3.primitivedata import ObjectType

from bms_iot.bacnet.values import names
from bms_iot.domain import points
from bms_iot.domain.points import kebab_case

MISSPELT_CODES = {
    22: "property-is-not-a-list",
    148: "not-a-bacnet-sc-hub",
    164: "http-not-a-server",
    188: "tls-error",
}
"""What the other stack spells otherwise than the standard."""
MISSPELT_REASONS = {3: "invalid-parameter-data-type"}


@pytest.mark.parametrize(
    ("table", "theirs", "misspelt"),
    [
        (names.UNITS, EngineeringUnits, {}),
        (names.OBJECT_TYPES, ObjectType, {}),
        (names.PROPERTIES, PropertyIdentifier, {}),
        (names.EVENT_STATES, EventState, {}),
        (names.RELIABILITIES, Reliability, {}),
        (names.NOTIFY_TYPES, NotifyType, {}),
        (names.ERROR_CLASSES, ErrorClass, {}),
        (names.ERROR_CODES, ErrorCode, MISSPELT_CODES),
        (names.REJECT_REASONS, RejectReason, MISSPELT_REASONS),
        (names.ABORT_REASONS, AbortReason, {}),
    ],
)
def test_every_number_has_the_name_of_another_stack(table: Mapping[int, str], theirs: Any, misspelt: Mapping[int, str]) -> None:
    known = {number: {name for name, other in theirs._enum_map.items() if other == number} for number in theirs._enum_map.values()}
    if table is names.ABORT_REASONS:  # theirs has some of its own above the standard's
        known = {number: spellings for number, spellings in known.items() if number < 64}
    assert known.keys() <= table.keys()
    wrong = {number: table[number] for number, spellings in known.items() if table[number] not in spellings}
    assert wrong == misspelt


def test_the_units_of_later_revisions_are_known() -> None:
    assert (names.UNITS[252], names.UNITS[253], names.UNITS[254]) == (
        "molePercent",
        "pascalSeconds",
        "millionStandardCubicFeetPerMinute",
    )
    assert (names.UNITS[47808], names.UNITS[47812]) == ("standardCubicFeetPerDay", "poundsMassPerDay")
    assert (names.UNITS[47814], names.UNITS[47815]) == ("millirems", "milliremsPerHour")


@pytest.mark.parametrize(("number", "name"), [(62, "degreesCelsius"), (95, "noUnits"), (256, "unit-256"), (47813, "unit-47813")])
def test_units_are_in_camel_case_and_the_vendors_by_number(number: int, name: str) -> None:
    assert names.unit_name(number) == name


def test_a_number_without_a_name_is_spelled_as_text() -> None:
    assert names.name_of(names.RELIABILITIES, 7) == "unreliable-other"
    assert names.name_of(names.RELIABILITIES, 11) == "11"
    assert names.name_of(names.EVENT_STATES, 700) == "700"


@pytest.mark.parametrize("object_type", points.ObjectType)
def test_the_object_types_that_are_read_have_the_domains_names(object_type: points.ObjectType) -> None:
    assert names.OBJECT_TYPES[object_type.number] == object_type.value


@pytest.mark.parametrize(
    "table",
    [names.EVENT_STATES, names.RELIABILITIES, names.NOTIFY_TYPES, names.ERROR_CLASSES, names.ERROR_CODES, names.REJECT_REASONS],
)
def test_states_and_errors_are_in_kebab_case(table: Mapping[int, str]) -> None:
    assert {name for name in table.values() if name != kebab_case(name)} == set()
