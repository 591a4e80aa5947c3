"""Report by exception: what is left out of the stream where a site chose so, and what never is."""

from datetime import UTC, datetime, timedelta

import pytest

from bms_iot.domain.classes import PollingClass
from bms_iot.domain.readings import Quality, Reading
from bms_iot.domain.reporting import ReportRule, moved
from bms_iot.gateway.spare import Spare
from bms_iot.gateway.state import GatewayState
from tests.clock import VirtualClock
from tests.integration.gateways import DEPLOYMENT

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def spare(*rules, classes=None):
    clock = VirtualClock()
    state = GatewayState(deployment=DEPLOYMENT, boot=1, started_at=NOW, version="test", schema_revision="head")
    state.classes = classes or {}
    return Spare(rules=[ReportRule.parse(rule) for rule in rules], clock=clock, state=state), clock


def reading(value, point_id=1, quality=Quality.GOOD, optional=None):
    return Reading(point_id=point_id, acquired_at=NOW, present_value=value, quality=quality, optional=optional)


def sent(spare, *readings):
    return [one.present_value for one in spare.worth_sending(readings)]


def test_without_a_rule_everything_is_sent_as_it_is():
    all_of_them = [reading("1.0"), reading("1.0")]
    assert spare()[0].worth_sending(all_of_them) is all_of_them


def test_what_did_not_change_beyond_the_dead_band_since_it_was_sent_is_left_out():
    kept, _ = spare("normal 0.5")
    assert sent(kept, *map(reading, ("1.0", "1.4", "1.5", "1.6", "2.0", "nan", "nan"))) == ["1.0", "1.6", "nan"]


def test_silence_ends():
    kept, clock = spare("normal 0 900")
    assert sent(kept, reading("1.0"), reading("1.0")) == ["1.0"]
    clock._elapsed = 899.0
    assert sent(kept, reading("1.0")) == []
    clock._elapsed = 900.0
    assert sent(kept, reading("1.0"), reading("1.0")) == ["1.0"]


def test_another_quality_or_a_changed_property_is_always_sent():
    kept, _ = spare("normal 10")
    readings = [reading("1.0"), reading("1.0", quality=Quality.BAD), reading("1.0", quality=Quality.BAD, optional={"units": "x"})]
    assert len(kept.worth_sending(readings)) == 3


def test_a_rule_is_for_its_class_alone():
    kept, _ = spare("slow", classes={1: PollingClass.SLOW})
    readings = [reading("1.0"), reading("1.0"), reading("1.0", point_id=2), reading("1.0", point_id=2)]
    assert [one.point_id for one in kept.worth_sending(readings)] == [1, 2, 2]


def test_rules_read_as_they_are_spelled():
    rule = ReportRule.parse(" slow 0.5 900 ")
    assert (rule.polling_class, rule.dead_band, rule.silence_seconds) == (PollingClass.SLOW, 0.5, 900.0)
    assert ReportRule.parse(str(rule)) == rule
    assert ReportRule.parse("fast").silence_seconds == timedelta(hours=1).total_seconds()


@pytest.mark.parametrize("text", ["", "quick", "slow -1", "slow x", "slow 1 0", "slow 1 inf", "slow nan 5", "slow 1 2 3"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        ReportRule.parse(text)


@pytest.mark.parametrize(
    ("before", "after", "band", "has_moved"),
    [
        ("1.0", "1.0", 0.0, False),
        ("1.0", "1.01", 0.0, True),
        ("active", "inactive", 5.0, True),
        (None, "1.0", 5.0, True),
        ("1.0", None, 5.0, True),
        (None, None, 0.0, False),
        ("nan", "1.0", 5.0, True),
        ("inf", "-inf", 5.0, True),
        ("1.0", "6.0", 5.0, False),
        ("1.0", "6.1", 5.0, True),
    ],
)
def test_a_number_moves_by_more_than_the_band_anything_else_at_all(before, after, band, has_moved):
    assert moved(before, after, band) is has_moved
