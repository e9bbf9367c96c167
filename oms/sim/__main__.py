"""The gateway simulator from the shell.

oms-sim serve --port 4002 --books gateway.db     a gateway that trades until it is stopped
oms-sim script FILE --port 4002                  the same, playing a scenario
oms-sim fuzz --seed 7 --rate 0.01                the same, with faults at random from the seed
oms-sim serve --fault 'direction=out message=orderStatus action=drop probability=0.1'
oms-sim do quote symbol=AAPL bid=99 ask=99.01    one command to a running gateway
oms-sim statement FILE                           the day's account statement, as a Flex query's XML
oms-sim record FILE --gateway 127.0.0.1:4001     record what a real gateway sends
oms-sim replay FILE --port 4002                  play a recording back
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from oms.sim.clock import Clock, RealClock, SteppedClock
from oms.sim.gateway.faults import Ratio, random_faults
from oms.sim.gateway.gateway import Gateway
from oms.sim.protocol.fields import is_digits
from oms.sim.protocol.versions import SERVER_VERSION_MAX
from oms.sim.script import reference, transcripts
from oms.sim.script.arguments import CommandError
from oms.sim.script.commands import Commands
from oms.sim.script.control import ControlPort, call
from oms.sim.script.player import Player
from oms.sim.script.recorder import Recorder
from oms.sim.script.replay import Replay
from oms.sim.script.scenarios import Scenario, ScenarioError, command_of
from oms.sim.settings import CHOICES, SettingError, Settings

PORT_MAX = 65_535
YEAR_FIRST, YEAR_LAST = 1970, 2200
EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_REACHABLE = 0, 1, 2, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, and return the exit status."""
    options = _read(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(name)s %(message)s",
    )
    if options.verb == "reference":
        return _reference(options)
    others = {"do": _do, "statement": _statement, "record": _record, "replay": _replay}
    with contextlib.suppress(KeyboardInterrupt):
        if options.verb in others:
            return asyncio.run(others[options.verb](options))
        return _run(options)
    return EXIT_DONE


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read a command line. Options of `do` may stand anywhere among its fields.

    argparse gives a list of fields no second part after an option: that part is left over.
    """
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and (options.verb != "do" or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.fields += rest
    return options


def _reference(options: argparse.Namespace) -> int:
    try:
        for path in reference.write(options.folder):
            sys.stdout.write(f"{path}\n")
    except OSError as error:
        sys.stderr.write(f"{options.folder}: {error.strerror or error}\n")
        return EXIT_FAILED
    return EXIT_DONE


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    scenario = None
    if options.verb == "script":
        try:
            scenario = Scenario.read(options.file)
        except (OSError, ValueError, ScenarioError) as error:
            sys.stderr.write(f"{options.file}: {error}\n")
            return EXIT_USAGE
        scenario.apply(settings)
    try:
        settings.check()
        faults = [command_of(f"fault {text}") for text in options.fault]
        clock = _clock(options)
    except (SettingError, ScenarioError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    try:
        return asyncio.run(_serve(settings, options, scenario, faults, clock))
    except (OSError, sqlite3.Error) as error:
        where = f"{settings.host} ports {settings.port} and {settings.control_port}"
        sys.stderr.write(f"cannot serve at {where}, books {settings.books}: {error}\n")
        return EXIT_FAILED
    except CommandError as error:
        sys.stderr.write(f"--fault: {error} ({error.hint})\n")
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oms-sim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    serve = verbs.add_parser("serve", help="open the port and trade until stopped")
    script = verbs.add_parser("script", help="the same, playing a scenario")
    script.add_argument("file", type=Path, help="the scenario")
    script.add_argument("--once", action="store_true", help="stop when every block has happened")
    fuzz = verbs.add_parser("fuzz", help="the same, with faults at random from the seed")
    chance = "chance of each fault at each message (default: %(default)s)"
    fuzz.add_argument("--rate", type=_rate, default="0.01", help=chance)
    for one in (serve, script, fuzz):
        _add_settings(one)
    record = verbs.add_parser("record", help="pass frames on to a real gateway and record them")
    record.add_argument("file", type=Path, help="the transcript to write")
    record.add_argument("--gateway", default="127.0.0.1:4001", help="the real one, HOST:PORT")
    record.add_argument("--port", type=_port, default=Settings().port)
    record.add_argument("--hide", action="append", default=[], help="TEXT=SHOWN, such as accounts")
    record.add_argument(
        "--highest",
        type=int,
        default=SERVER_VERSION_MAX,
        help="version that clients are announced with at most (default: %(default)s; 0: their own)",
    )
    replay = verbs.add_parser("replay", help="play a transcript back to clients")
    replay.add_argument("file", type=Path, help="the transcript to play")
    replay.add_argument("--port", type=_port, default=Settings().port)
    for one in (record, replay):
        one.add_argument("--verbose", action="store_true")
    pages = verbs.add_parser("reference", help="write the reference pages")
    pages.add_argument("folder", type=Path)
    pages.add_argument("--verbose", action="store_true")
    paper = verbs.add_parser("statement", help="write the account statement of a running gateway")
    paper.add_argument("file", type=Path, help="the XML file to write")
    paper.add_argument("--control-port", type=_port, default=Settings().control_port)
    paper.add_argument("--account", help="of this account only")
    paper.add_argument("--from", dest="first", metavar="DAY", help="YYYY-MM-DD (default: --to)")
    paper.add_argument("--to", dest="last", metavar="DAY", help="YYYY-MM-DD (default: today)")
    paper.add_argument("--verbose", action="store_true")
    do = verbs.add_parser("do", help="one command to a running gateway")
    do.add_argument("command", help="a verb of the control port, such as books")
    do.add_argument("fields", nargs="*", help="field=text")
    do.add_argument("--control-port", type=_port, default=Settings().control_port)
    do.add_argument("--verbose", action="store_true")
    return parser


def _setting(name: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        settings = Settings()
        try:
            settings.put(name, text)
        except SettingError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return getattr(settings, name)

    return read


def _port(text: str) -> int:
    if not is_digits(text) or int(text) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"0 to {PORT_MAX}")
    return int(text)


def _rate(text: str) -> Ratio:
    try:
        return Ratio(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError("0 to 1") from error


def _add_settings(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    add = parser.add_argument

    def read(flag: str, **words: Any) -> None:
        """Add what stands for a setting, read and checked as a scenario would say it."""
        name = flag.removeprefix("--").replace("-", "_")
        add(flag, type=_setting(name), default=getattr(default, name), **words)

    read("--host", help="address to listen on (default: %(default)s)")
    read("--port", help="API port, 0 for any free one")
    read("--control-port", help="control port, 0 for any")
    read("--books", help="file that keeps the broker's books; without it, memory")
    read("--seed", help="identities, prices, faults (default: 1)")
    add("--account", "--accounts", default=",".join(default.accounts), help="A or A,B,C")
    read("--cash", help="opening balance of each account")
    read("--zone", help="the gateway's time zone (default: %(default)s)")
    add("--time-format", choices=CHOICES["time_form"], default=default.time_form)
    read("--server-version", help="157 to 178")
    add("--commission", choices=CHOICES["commission"], default=default.commission)
    add("--hours", choices=CHOICES["hours"], default=default.hours)
    add("--market", choices=CHOICES["market"], default=default.market)
    add("--liquidity", choices=CHOICES["liquidity"], default=default.liquidity)
    add("--fills", choices=CHOICES["fills"], default=default.fills)
    read("--parts", help="a marketable order fills in N parts")
    read("--part-seconds", help="time between parts")
    add("--read-only", action="store_true", help="refuse orders with 321")
    add("--no-download-open-orders", action="store_true", help="push nothing on connect")
    add("--no-pacing", action="store_true", help="take historical questions at any pace")
    add("--cancel-order", choices=CHOICES["cancel_order"], default=default.cancel_order)
    add("--acknowledge", choices=CHOICES["acknowledge"], default=default.acknowledge)
    add("--children", choices=CHOICES["children"], default=default.children)
    add("--oca", choices=CHOICES["oca"], default=default.oca)
    add("--modify-reject", choices=CHOICES["modify_reject"], default=default.modify_reject)
    add("--bind", choices=("negative", "positive"), default="negative", help="ids of bound orders")
    read("--master-client", help="client id that sees every client's orders")
    read("--messages-per-second", help="0: any")
    read("--chunk-bytes", help="cut the output up; 0: no")
    read("--trigger-seconds", help="with --once: how long a trigger may be waited for; 0: for ever")
    add("--clock", choices=("real", "stepped"), default="real", help="stepped: by `advance`")
    add("--start", help="the clock's start, such as 2026-01-05T14:30:00+00:00")
    add("--speed", type=float, default=1.0, help="how many times faster the clock runs")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="'FIELD=TEXT ...'",
        help="a fault in force from the start, as the verb `fault`; may be given again",
    )
    add("--verbose", action="store_true", help="log every message")


def _settings(options: argparse.Namespace) -> Settings:
    same = (
        *("host", "port", "control_port", "books", "seed", "cash", "zone", "server_version"),
        *("commission", "hours", "market", "liquidity", "fills", "parts", "part_seconds"),
        *("read_only", "cancel_order", "acknowledge", "modify_reject", "master_client"),
        *("children", "oca", "messages_per_second", "chunk_bytes", "trigger_seconds"),
    )
    return Settings(
        **{name: getattr(options, name) for name in same},
        accounts=tuple(options.account.split(",")),
        time_form=options.time_format,
        download_open_orders=not options.no_download_open_orders,
        bind_negative=options.bind == "negative",
        pacing=not options.no_pacing,
    )


def _clock(options: argparse.Namespace) -> Clock:
    try:
        start = datetime.fromisoformat(options.start) if options.start else None
    except ValueError as error:
        raise SettingError(f"--start {options.start}: {error}") from error
    if start is not None and start.tzinfo is None:
        raise SettingError(f"--start {options.start} has no zone, such as +00:00")
    if start is not None and not YEAR_FIRST <= start.year <= YEAR_LAST:
        raise SettingError(f"--start {options.start}: a year from {YEAR_FIRST} to {YEAR_LAST}")
    if not 0.001 <= options.speed <= 100_000:
        raise SettingError(f"--speed {options.speed} is out of bounds: 0.001 to 100000")
    if options.clock == "stepped":
        return SteppedClock(start or RealClock().now())
    return RealClock(options.speed, start)


async def _serve(
    settings: Settings,
    options: argparse.Namespace,
    scenario: Scenario | None,
    faults: list[dict[str, Any]],
    clock: Clock,
) -> int:
    stopped = asyncio.Event()
    gateway = Gateway(settings, clock=clock)
    if options.verb == "fuzz":
        for fault in random_faults(options.rate):
            gateway.faults.add(fault)
    for command in faults:
        answer = Commands(gateway).do(command)
        if not answer["ok"]:
            raise CommandError(answer["error"], answer["hint"])
    player = Player(scenario, gateway) if scenario is not None else None
    if player is not None:
        player.start()
        if options.once:
            player.end_with(stopped.set, settings.trigger_seconds)
    control = ControlPort(Commands(gateway, on_quit=stopped.set))
    control_port = await control.start(settings.control_port)
    port = await gateway.start()
    _set_on_signal(stopped)
    accounts = list(settings.accounts)
    _say(ready=True, port=port, control_port=control_port, accounts=accounts, pid=os.getpid())
    await stopped.wait()
    await control.stop()
    await gateway.stop()
    if player is None:
        return EXIT_DONE
    _say(played=len(player.played), waiting=player.waiting, failures=player.failures)
    return EXIT_FAILED if player.failures or player.waiting else EXIT_DONE


async def _record(options: argparse.Namespace) -> int:
    host, _, port = options.gateway.rpartition(":")
    if not host or not is_digits(port) or int(port) > PORT_MAX:
        sys.stderr.write(f"--gateway {options.gateway}: HOST:PORT\n")
        return EXIT_USAGE
    hide = dict(word.partition("=")[::2] for word in options.hide)
    if "" in hide:
        sys.stderr.write("--hide: TEXT=SHOWN, such as U1234567=U0000000\n")
        return EXIT_USAGE
    try:
        before = transcripts.read(options.file) if options.file.exists() else []
        with options.file.open("a", encoding="utf-8") as out:
            recorder = Recorder(
                (host, int(port)),
                out,
                RealClock(),
                hide,
                highest=options.highest,
                connections=max((one.connection for one in before), default=0),
            )
            return await _until_stopped(recorder, options.port)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{options.file}: {error}\n")
        return EXIT_USAGE


async def _replay(options: argparse.Namespace) -> int:
    try:
        lines = transcripts.read(options.file)
        if not lines:
            raise transcripts.TranscriptError("nothing was recorded")
        return await _until_stopped(Replay(lines), options.port)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{options.file}: {error}\n")
        return EXIT_USAGE


async def _until_stopped(server: Recorder | Replay, port: int) -> int:
    stopped = asyncio.Event()
    _set_on_signal(stopped)
    _say(ready=True, port=await server.start("127.0.0.1", port), pid=os.getpid())
    await stopped.wait()
    await server.stop()
    return EXIT_DONE


async def _do(options: argparse.Namespace) -> int:
    command: dict[str, Any] = {"do": options.command}
    for word in options.fields:
        name, equals, text = word.partition("=")
        if not equals:
            sys.stderr.write(f"{word!r} is not field=text\n")
            return EXIT_USAGE
        outer, dot, inner = name.partition(".")
        if dot:
            command.setdefault(outer, {})[inner] = text
        else:
            command[name] = text
    try:
        answer = await call(options.control_port, command)
    except OSError as error:
        sys.stderr.write(f"no gateway at control port {options.control_port}: {error}\n")
        return EXIT_NOT_REACHABLE
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return EXIT_DONE if answer["ok"] else EXIT_FAILED


async def _statement(options: argparse.Namespace) -> int:
    named = {"account": options.account, "from": options.first, "to": options.last}
    command = {"do": "statement"} | {name: value for name, value in named.items() if value}
    try:
        answer = await call(options.control_port, command)
    except OSError as error:
        sys.stderr.write(f"no gateway at control port {options.control_port}: {error}\n")
        return EXIT_NOT_REACHABLE
    if not answer["ok"]:
        sys.stderr.write(f"{answer['error']}\n")
        return EXIT_FAILED
    try:
        options.file.write_text(answer["xml"], encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"{options.file}: {error.strerror or error}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{options.file}\n")
    return EXIT_DONE


def _set_on_signal(stopped: asyncio.Event) -> None:
    """SIGTERM and SIGINT end the program in good order, on Windows too."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))


def _say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
