"""A program that appends until it is done or killed, and says after each receipt what it got.

    python -m tests.conformance.appender URL NAME COUNT

It prints "SEQUENCE ORDER_ID" only when the receipt says that the fact is durable, so whoever kills
it knows what must be found in the log.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from oms.clock import SystemClock
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.telemetry import configure
from tests.conformance.facts import intent


async def main(url: str, name: str, count: int) -> None:
    lease = LeaseRequest(name, "appender", socket.gethostname(), os.getpid())
    log = await EventLog.open(url, clock=SystemClock(), lease=lease)
    for first in range(0, count, 5):
        numbers = range(first, min(first + 5, count))
        receipts = await asyncio.gather(*(log.append(intent(f"{name}-{n}")) for n in numbers))
        for number, receipt in zip(numbers, receipts, strict=True):
            print(receipt.sequence, f"{name}-{number}", flush=True)
    await log.close()


if __name__ == "__main__":
    configure("WARNING")  # what it prints is read by a test
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
