"""The manners there are, by the words a person types."""

import enum
from collections.abc import Callable, Mapping, Sequence
from random import Random

from bms_iot.simulator.adversary import sendings, services, values
from bms_iot.simulator.adversary.manner import Manner


class Manners(enum.Enum):
    """The ill manners; the value is what a person types."""

    NO_RPM = "no-rpm"
    ABORT = "abort"
    BUFFER_OVERFLOW = "buffer-overflow"
    DROPS_BIG_REQUESTS = "drops-big-requests"
    NO_SEGMENTATION = "no-segmentation"
    NAN = "nan"
    NUL_IN_STRINGS = "nul-in-strings"
    MISLABELLED_STRINGS = "mislabelled-strings"
    BOOLEAN_FOR_BINARY = "boolean-for-binary"
    UNSIGNED_FOR_ALL = "unsigned-for-all"
    DOUBLE_FOR_REAL = "double-for-real"
    NULL_VALUES = "null-values"
    EMPTY_VALUES = "empty-values"
    EMPTY_NAMES = "empty-names"
    SHORT_PRIORITY_ARRAYS = "short-priority-arrays"
    CONSTRUCTED_VALUES = "constructed-values"
    VENDOR_NUMBERS = "vendor-numbers"
    ODD_BIT_STRINGS = "odd-bit-strings"
    TRUNCATED_OBJECT_LIST = "truncated-object-list"
    INDEX_ONLY = "index-only"
    MANY_OBJECTS = "many-objects"
    DUPLICATE_INSTANCE = "duplicate-instance"
    MOVED_ADDRESS = "moved-address"
    I_AM_STORM = "i-am-storm"
    SILENT = "silent"
    SLOW = "slow"
    LATE_ANSWERS = "late-answers"
    DUPLICATED_ANSWERS = "duplicated-answers"
    LOST_ANSWERS = "lost-answers"
    REORDERED_ANSWERS = "reordered-answers"
    FOREIGN_ANSWERS = "foreign-answers"
    FOREIGN_VALUES = "foreign-values"
    WRONG_INVOKE_IDS = "wrong-invoke-ids"
    WRONG_SERVICE = "wrong-service"
    TRUNCATED_ANSWERS = "truncated-answers"
    EMPTY_ANSWERS = "empty-answers"
    TRAILING_GARBAGE = "trailing-garbage"
    NO_SUBSCRIPTIONS = "no-subscriptions"
    NO_NOTIFICATIONS = "no-notifications"


_CLASSES: Mapping[Manners, type[Manner]] = {
    Manners.NO_RPM: services.NoReadPropertyMultiple,
    Manners.ABORT: services.Aborts,
    Manners.BUFFER_OVERFLOW: services.BufferOverflow,
    Manners.DROPS_BIG_REQUESTS: services.DropsBigRequests,
    Manners.NO_SEGMENTATION: services.NoSegmentation,
    Manners.NAN: values.NotFinite,
    Manners.NUL_IN_STRINGS: values.NulInStrings,
    Manners.MISLABELLED_STRINGS: values.MislabelledStrings,
    Manners.BOOLEAN_FOR_BINARY: values.BooleanForBinary,
    Manners.UNSIGNED_FOR_ALL: values.UnsignedForAll,
    Manners.DOUBLE_FOR_REAL: values.DoubleForReal,
    Manners.NULL_VALUES: values.NullValues,
    Manners.EMPTY_VALUES: values.EmptyValues,
    Manners.EMPTY_NAMES: values.EmptyNames,
    Manners.SHORT_PRIORITY_ARRAYS: values.ShortPriorityArrays,
    Manners.CONSTRUCTED_VALUES: values.ConstructedValues,
    Manners.VENDOR_NUMBERS: values.VendorNumbers,
    Manners.ODD_BIT_STRINGS: values.OddBitStrings,
    Manners.TRUNCATED_OBJECT_LIST: services.TruncatedObjectList,
    Manners.INDEX_ONLY: services.IndexOnly,
    Manners.MANY_OBJECTS: services.ManyObjects,
    Manners.DUPLICATE_INSTANCE: sendings.DuplicateInstance,
    Manners.MOVED_ADDRESS: sendings.MovedAddress,
    Manners.I_AM_STORM: sendings.IAmStorm,
    Manners.SILENT: services.Silent,
    Manners.SLOW: sendings.Slow,
    Manners.LATE_ANSWERS: sendings.LateAnswers,
    Manners.DUPLICATED_ANSWERS: sendings.Duplicates,
    Manners.LOST_ANSWERS: sendings.Lossy,
    Manners.REORDERED_ANSWERS: sendings.Reordered,
    Manners.FOREIGN_ANSWERS: sendings.ForeignAnswers,
    Manners.FOREIGN_VALUES: services.ForeignValues,
    Manners.WRONG_INVOKE_IDS: sendings.WrongInvokeIds,
    Manners.WRONG_SERVICE: sendings.WrongService,
    Manners.TRUNCATED_ANSWERS: sendings.TruncatedAnswers,
    Manners.EMPTY_ANSWERS: sendings.EmptyAnswers,
    Manners.TRAILING_GARBAGE: sendings.TrailingGarbage,
    Manners.NO_SUBSCRIPTIONS: services.NoSubscriptions,
    Manners.NO_NOTIFICATIONS: services.NoNotifications,
}


def parse_manners(text: str) -> Callable[[Random], Sequence[Manner]]:
    """`nan`, `slow=2` or `no-rpm+index-only`: what makes the manners of one device. Raises ValueError."""
    wanted = [_parsed(part) for part in text.split("+")]
    return lambda chance: [make(number, chance) for make, number in wanted]


def _parsed(text: str) -> tuple[type[Manner], float]:
    word, _, number = text.partition("=")
    try:
        made = _CLASSES[Manners(word)]
    except ValueError:
        raise ValueError(f"{word!r} is no ill manner; there are {', '.join(each.value for each in Manners)}") from None
    if made.default is None:
        if number:
            raise ValueError(f"{word} takes no number")
        return made, 0.0
    try:
        value = float(number) if number else made.default
    except ValueError:
        raise ValueError(f"{number!r} is no number for {word}") from None
    if not made.lowest <= value <= 1_000_000:
        raise ValueError(f"{word} takes a number from {made.lowest:g} to 1000000")
    return made, value


def explained() -> list[tuple[str, str, float | None]]:
    """Each manner's word, what it does and its number when nobody gives one."""
    return [(each.value, " ".join((_CLASSES[each].__doc__ or "").split()), _CLASSES[each].default) for each in Manners]
