"""The compact form of messages."""

import json
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bms_iot.domain.readings import Quality, Reading, ReadingError, StatusFlag
from bms_iot.errors import StorageError
from bms_iot.storage.compact import decode, encode

NOW = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
texts = st.none() | st.text(max_size=20)
readings = st.builds(
    Reading,
    point_id=st.integers(1, 10**9),
    acquired_at=st.datetimes(timezones=st.just(UTC)),
    present_value=texts,
    quality=st.sampled_from(Quality),
    status_flags=st.sets(st.sampled_from(StatusFlag)).map(lambda flags: tuple(flag for flag in StatusFlag if flag in flags)),
    event_state=texts,
    out_of_service=st.none() | st.booleans(),
    reliability=texts,
    error=st.none() | st.builds(ReadingError, error_class=st.text(max_size=9), error_code=st.text(max_size=9)),
    optional=st.none()
    | st.fixed_dictionaries(
        {"high_limit": st.floats(allow_nan=False, allow_infinity=False), "priority_array": st.just([None] * 16)}
    ),
)


@given(st.lists(readings, min_size=1, max_size=8))
def test_what_is_encoded_comes_back_whole(batch):
    assert [stored.reading for stored in decode(encode(batch))] == batch


def test_columns_that_are_no_optional_properties_come_back_beside_the_reading():
    stored = decode(
        encode([Reading(point_id=1, acquired_at=NOW, present_value="1", quality=Quality.GOOD, optional={"units": "volts"})])
    )
    assert stored[0].columns == {"units": "volts"}
    assert stored[0].reading.optional is None


def test_an_ordinary_reading_takes_less_than_ten_bytes():
    batch = [
        Reading(
            point_id=number,
            acquired_at=NOW + timedelta(milliseconds=number // 20),
            present_value=f"{20 + (number * 7919 % 100) / 10}",
            quality=Quality.GOOD,
            event_state="normal",
            out_of_service=False,
            reliability="no-fault-detected",
        )
        for number in range(50)
    ]
    assert len(encode(batch)) / len(batch) < 10


@pytest.mark.parametrize(
    "payload", [b"", b"x", encode([Reading(point_id=1, acquired_at=NOW, present_value="1", quality=Quality.GOOD)])[:-1]]
)
def test_a_broken_payload_is_a_storage_error(payload):
    with pytest.raises(StorageError):
        decode(payload)


@given(st.lists(readings, min_size=1, max_size=8))
def test_the_form_is_the_plain_document_of_decision_0001(batch):
    document = json.loads(zlib.decompress(encode(batch)))
    start = (batch[0].acquired_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert (document["v"], document["t"]) == (1, start)
    defaults: list[object] = [None, None, None, "g", 0, "normal", False, "no-fault-detected", None, {}]
    for row, reading in zip(document["r"], batch, strict=True):
        assert [*row, *defaults[len(row) :]] == [
            reading.point_id,
            (reading.acquired_at - batch[0].acquired_at) // timedelta(microseconds=1),
            reading.present_value,
            reading.quality.value[0],
            sum(1 << bit for bit, flag in enumerate(StatusFlag) if flag in reading.status_flags),
            reading.event_state,
            reading.out_of_service,
            reading.reliability,
            [reading.error.error_class, reading.error.error_code] if reading.error else None,
            dict(reading.optional or {}),
        ]
