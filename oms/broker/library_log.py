"""What ib_async says, at the level that it deserves.

ib_async logs every notice that is no warning to it as an error, the greeting of the data farms
(2104) included, and where no logging is configured that is a line on stderr each. The notices
are in the log anyway. So our object's loggers are replaced, and only ours: a program around us that
uses ib_async for itself keeps what it has.
"""

from __future__ import annotations

import logging
import re
from typing import Final

import ib_async

from oms.broker import patches
from oms.core.codes import Kind, meaning
from oms.telemetry import get_logger

_NOTICE: Final = re.compile(r"(?:Error|Warning) (-?\d+), reqId (-?\d+): (.*)", re.DOTALL)
#: What a person need not act on; everything else is a warning, and the log has the whole story.
_QUIET: Final[frozenset[Kind]] = frozenset({"farm", "warning", "held", "cancelled"})

_log = get_logger("broker.ib_async")


def reroute(ib: ib_async.IB) -> None:
    """Let an `IB` object and its parts speak through our program messages."""
    logger = logging.Logger("ib_async", logging.INFO)
    logger.addHandler(_Handler())
    patches.speak_through(ib, logger)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Say again what ib_async has said."""
        text = record.getMessage()
        notice = _NOTICE.match(text)
        if notice is not None:
            _say_notice(int(notice[1]), int(notice[2]), notice[3])
        elif record.exc_info:
            # A message that ib_async could not decode: this is the only word of it.
            _log.error("ib_async_failed", message=text, exc_info=record.exc_info)
        else:
            # Connecting and losing the line: the session says so itself.
            _log.debug("ib_async_said", message=text)


def _say_notice(code: int, subject_id: int, text: str) -> None:
    if meaning(code).kind in _QUIET:
        _log.info("notice_received", code=code, subject_id=subject_id, text=text)
    else:
        _log.warning("notice_received", code=code, subject_id=subject_id, text=text)
