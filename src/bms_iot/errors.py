"""Every error this package raises on purpose.

BmsError
├── ConfigurationError          exit 78   a setting is missing, unknown or wrong
├── SchemaError                 exit 1    a migration failed and was rolled back
│   ├── SchemaBehind            exit 17   the database waits for an upgrade
│   ├── SchemaNewer             exit 10   the database was written by a newer release
│   ├── NoSpace                 exit 11   the disk cannot hold the upgrade
│   ├── DatabaseLocked          exit 12   somebody else holds the database
│   ├── UnknownShape            exit 13   the file is not a shape this release knows
│   ├── SchemaDrift             exit 14   the schema is not what its revision says
│   ├── DatabaseCorrupt         exit 15   the file is not a sound SQLite database
│   └── RevisionEdited          exit 16   a released revision is not what was released
├── InvalidInput                exit 2    what a person gave, an identifier or a value, cannot be used
├── StorageError                exit 1    a query or a commit failed
├── BacnetError                 exit 1
│   ├── TransportError          exit 1    our own UDP port cannot be opened or used
│   ├── DeviceUnreachable       exit 1    a device did not answer in time
│   ├── WrongDevice             exit 1    another device than the one that was meant answers at its address
│   ├── DeviceRefused           exit 1    a device answered with error, reject or abort
│   └── MalformedReply          exit 1    a device answered with something undecodable
├── BrokerError                 exit 1
│   ├── BrokerUnavailable       exit 1    no connection, or it was lost before the acknowledgement
│   └── PublishRefused          exit 1    the broker acknowledged with a reason of 0x80 or more
├── CommandRejected             exit 1    a command from the cloud is refused; its text is the answer
└── RestartRequested            exit 75   the cloud asked for a restart; the supervisor does it

Foreign exceptions are translated into these at the border where they arise.
"""

from typing import ClassVar


class BmsError(Exception):
    """Something went wrong that a person can act on.

    `str(error)` says what and why in one sentence; `hint` is what to do next, a command where there is one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(BmsError):
    """A setting is missing, unknown or wrong; the message names it."""

    exit_code = 78


class SchemaError(BmsError):
    """A migration failed; the database is as it was before."""


class SchemaBehind(SchemaError):
    """The database waits for an upgrade."""

    exit_code = 17


class SchemaNewer(SchemaError):
    """The database was written by a newer release."""

    exit_code = 10


class NoSpace(SchemaError):
    """The disk cannot hold the upgrade."""

    exit_code = 11


class DatabaseLocked(SchemaError):
    """Somebody else holds the database."""

    exit_code = 12


class UnknownShape(SchemaError):
    """The file is not a shape this release knows."""

    exit_code = 13


class SchemaDrift(SchemaError):
    """The schema is not what its revision says."""

    exit_code = 14


class DatabaseCorrupt(SchemaError):
    """The file is not a sound SQLite database."""

    exit_code = 15


class RevisionEdited(SchemaError):
    """A released revision is not what was released."""

    exit_code = 16


class InvalidInput(BmsError):
    """What a person gave, an identifier or a value, cannot be used; the message says why."""

    exit_code = 2


class StorageError(BmsError):
    """A query or a commit failed."""


class BacnetError(BmsError):
    """Something went wrong on the BACnet side."""


class TransportError(BacnetError):
    """Our own UDP port cannot be opened or used."""


class DeviceUnreachable(BacnetError):
    """A device did not answer in time."""


class WrongDevice(BacnetError):
    """Another device than the one that was meant answers at its address; `instance` is who, None where it does not say."""

    def __init__(self, message: str, *, instance: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.instance = instance


class DeviceRefused(BacnetError):
    """A device answered with an Error, Reject or Abort PDU.

    `error_class` and `error_code` are the names of ASHRAE 135 clause 18 in kebab-case, or the number as text; for Reject and
    Abort `error_class` is `reject` or `abort` and `error_code` its reason.
    """

    def __init__(self, message: str, *, error_class: str, error_code: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.error_code = error_code


class MalformedReply(BacnetError):
    """A device answered with something undecodable."""


class BrokerError(BmsError):
    """Something went wrong between us and the MQTT broker."""


class BrokerUnavailable(BrokerError):
    """No connection, or it was lost before the acknowledgement."""


class PublishRefused(BrokerError):
    """The broker acknowledged with an MQTT 5 reason code of 0x80 or more."""

    def __init__(self, message: str, *, reason_code: int) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class CommandRejected(BmsError):
    """A command from the cloud is refused; the text is the answer, to `command_id` where it could still be read."""

    def __init__(self, message: str, *, hint: str | None = None, command_id: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.command_id = command_id


class RestartRequested(BmsError):
    """The command `reboot` was answered: the gateway ends, and its supervisor starts it again."""

    exit_code = 75
