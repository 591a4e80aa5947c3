"""Logs: structlog on stderr, JSON unless that is a terminal. Tracebacks are without local variables: those leak passwords."""

import logging
import os
import sys

import structlog
from structlog.types import Processor

from bms_iot.sections import LogSettings


def configure(settings: LogSettings) -> None:
    """From now on log at this level and in this form."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    tail: list[Processor] = (
        [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=_is_coloured(), exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *tail,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def _is_coloured() -> bool:
    """A file shall not have escape sequences, and https://no-color.org is obeyed."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
