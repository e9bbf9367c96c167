"""`oms-sim`: the gateway simulator from the shell."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from oms.sim.clock import RealClock
from oms.sim.control import Commands, ControlPort
from oms.sim.gateway import Gateway
from oms.sim.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(name)s %(message)s",
    )
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_serve(_settings(options), options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oms-sim", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    serve = verbs.add_parser("serve", help="open the port and trade until stopped")
    _add_settings(serve)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    add = parser.add_argument
    add("--host", default=default.host, help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=default.port, help="API port, 0 for any free one")
    add("--control-port", type=int, default=default.control_port, help="control port, 0 for any")
    add("--books", type=Path, help="file that keeps the broker's books; without it, memory")
    add("--seed", type=int, default=default.seed, help="identities and prices (default: 1)")
    add("--account", "--accounts", default=",".join(default.accounts), help="A or A,B,C")
    add("--cash", type=Decimal, default=default.cash, help="opening balance of each account")
    add("--zone", default=default.zone, help="the gateway's time zone (default: %(default)s)")
    add("--time-format", choices=("zone", "utc", "bare"), default=default.time_form)
    add("--server-version", type=int, default=default.server_version, help="157 to 178")
    add("--parts", type=int, default=default.parts, help="a marketable order fills in N parts")
    add("--part-seconds", type=float, default=default.part_seconds, help="time between parts")
    add("--read-only", action="store_true", help="refuse orders with 321")
    add("--no-download-open-orders", action="store_true", help="push nothing on connect")
    add("--cancel-order", choices=("status-first", "error-first"), default=default.cancel_order)
    add("--acknowledge", choices=("both", "submitted"), default=default.acknowledge)
    add("--master-client", type=int, help="client id that sees every client's orders")
    add("--market", choices=("still", "moving"), default=default.market)
    add("--speed", type=float, default=1.0, help="how many times faster the clock runs")
    add("--verbose", action="store_true", help="log every message")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        books=options.books,
        seed=options.seed,
        accounts=tuple(options.account.split(",")),
        cash=options.cash,
        zone=options.zone,
        time_form=options.time_format,
        server_version=options.server_version,
        parts=options.parts,
        part_seconds=options.part_seconds,
        read_only=options.read_only,
        download_open_orders=not options.no_download_open_orders,
        cancel_order=options.cancel_order,
        acknowledge=options.acknowledge,
        master_client=options.master_client,
        market=options.market,
    )


async def _serve(settings: Settings, options: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    gateway = Gateway(settings, clock=RealClock(options.speed))
    control = ControlPort(Commands(gateway, on_quit=stopped.set))
    port = await gateway.start()
    control_port = await control.start(settings.control_port)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    ready = {
        "ready": True,
        "port": port,
        "control_port": control_port,
        "accounts": list(settings.accounts),
        "pid": os.getpid(),
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await control.stop()
    await gateway.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
