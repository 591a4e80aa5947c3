"""Profiles as domain values, to be kept over a restart, and back."""

from datetime import datetime, timedelta

from bms_iot.bacnet.polling.profile import FORGET_SECONDS, MIN_APDU, MIN_BUDGET, Profile
from bms_iot.bacnet.services.reading import PropertyReference
from bms_iot.bacnet.services.who_is import SEGMENTATION
from bms_iot.bacnet.values.codec import ObjectId
from bms_iot.domain.points import ObjectIdentifier, ObjectType
from bms_iot.domain.profiles import AbsentProperty, LearnedProfile

NO_SEGMENTATION = "none"


def to_learned(profile: Profile, *, now: datetime, monotonic: float) -> LearnedProfile:
    """What `profile` knows, but for what is not about points; `now` and `monotonic` are the same moment on both clocks."""
    age = FORGET_SECONDS - max(0.0, profile.forget_at - monotonic)
    return LearnedProfile(
        max_apdu=profile.max_apdu,
        segmentation=SEGMENTATION[profile.segmentation] if profile.segmentation < len(SEGMENTATION) else NO_SEGMENTATION,
        budget=profile.budget,
        learned_at=now - timedelta(seconds=age),
        has_rpm=profile.rpm_proven or (None if profile.has_rpm else False),
        has_cov=profile.has_cov,
        is_list_by_index=profile.is_list_by_index,
        absent=frozenset(
            AbsentProperty(
                object=ObjectIdentifier(type=object_type, instance=reference.object.instance), property=reference.property
            )
            for reference in profile.absent
            if reference.array_index is None and (object_type := ObjectType.from_number(reference.object.type)) is not None
        ),
    )


def take_over(profile: Profile, learned: LearnedProfile, *, now: datetime, monotonic: float) -> None:
    """Let `profile` begin with what was learned before. What is old, or not yet dated, is asked again."""
    profile.max_apdu = min(max(learned.max_apdu, MIN_APDU), profile.limit)
    profile.segmentation = (
        SEGMENTATION.index(learned.segmentation) if learned.segmentation in SEGMENTATION else len(SEGMENTATION) - 1
    )
    profile.budget = min(max(learned.budget, MIN_BUDGET), profile.max_apdu)
    age = (now - learned.learned_at).total_seconds()
    if not 0 <= age < FORGET_SECONDS:
        return
    profile.forget_at = monotonic + FORGET_SECONDS - age
    profile.rpm_proven = learned.has_rpm is True
    profile.has_rpm = learned.has_rpm is not False
    profile.has_cov, profile.is_list_by_index = learned.has_cov, learned.is_list_by_index
    for absent in learned.absent:
        profile.lacks(PropertyReference(ObjectId(absent.object.type.number, absent.object.instance), absent.property))
