"""Scenarios: files in which a person writes what happens, and when.

    # Lines that start with # say why.
    title   A fill in the outage window
    gateway seed=7 fills=manual

    start
      position_adjust symbol=AAPL quantity=100 average_cost=150

    on placeOrder orderRef=entry
      send_notice code=1100 text="Connectivity between IB and TWS has been lost."
    then after 0.010
      fill order=1 price=150.25
    then after 2
      send_notice code=1102 text="Connectivity restored - data maintained."

A line that starts at the margin says when; the indented lines below it are commands, the verbs of
the control port with `field=text` (shell quoting; `set.permId=0` puts a field into an object).

    start                       before the port is open
    at SECONDS                  so long after the start
    after SECONDS               so long after the block before it
    on MESSAGE [FIELD=TEXT]     a client message was acted on
    before MESSAGE [FIELD=TEXT] a client message came and is about to be acted on
    sent MESSAGE [FIELD=TEXT]   a server message went out
    when order=N FIELD=TEXT     an order of the books looks so (fields as `books` shows them)
    disconnect [client_id=N]    a client has gone

`then` in front arms a trigger only when the block before it has happened.  `nth=N` waits for the
N-th match, `each=yes` happens at every match.  A trigger without `then` is armed from the start.

`{FIELD}` in a command is the text which that field has in the message (or the order) that set the
block off, and `{client_id}` whose it is; `then after` blocks know those of the block before.

    before placeOrder whatIf=1
      send message=openOrder to={client_id} set.orderId={orderId} set.status=PreSubmitted
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import nan
from pathlib import Path
from typing import Any, Final

from oms.sim.broker.books.orders import Order
from oms.sim.files import read_text
from oms.sim.protocol.fields import is_digits, is_written_otherwise
from oms.sim.protocol.messages import OUTGOING
from oms.sim.protocol.requests import LAYOUT_OF, NAMES
from oms.sim.script.arguments import SECONDS_MAX
from oms.sim.script.commands import VERBS
from oms.sim.settings import SettingError, Settings, brief

TRIGGERS: Final = ("start", "at", "after", "on", "before", "sent", "when", "disconnect")
EMPTY_ORDER: Final = Order(0, 0, 0, "", 0, "", "BUY", Decimal(0), "MKT")
_CLIENT_MESSAGES: Final = frozenset(NAMES.values())
#: A field of what set a block off; `{n}` is the number of a copy, as `raw` has it.
_REFERENCE: Final = re.compile(r"\{(?!n\})(\w+)\}")


class ScenarioError(Exception):
    """A file that cannot be played: which line, and why."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a block."""

    #: Where it stands in the file, from 1.
    line: int
    command: Mapping[str, Any]


@dataclass(slots=True)
class Block:
    """When, and what then."""

    #: Where it begins in the file, from 1.
    line: int
    #: One of `TRIGGERS`.
    trigger: str
    #: The message, or which order, that the trigger is about.
    subject: str = ""
    #: at, after: how long.
    seconds: float = 0.0
    #: Only with these texts in these fields.
    where: dict[str, str] = field(default_factory=dict)
    #: The match that counts.
    nth: int = 1
    #: At every match, not at one.
    each: bool = False
    #: Armed by the block before it.
    then: bool = False
    steps: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class Scenario:
    """A file, understood."""

    title: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """Return the scenario in a file. Raises ScenarioError, as `parse` does."""
        return parse(read_text(path))

    def apply(self, settings: Settings) -> Settings:
        """Put the settings of the `gateway` line over those given."""
        for name, text in self.settings.items():
            settings.put(name, text)
        return settings


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def parse(text: str) -> Scenario:
    """Return the scenario in a text. Raises ScenarioError for the first line that is wrong."""
    scenario = Scenario()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.rstrip()
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.split()[0] == "title":
            # Free text: an apostrophe in it quotes nothing.
            scenario.title = line.removeprefix("title").strip()
            continue
        try:
            words = shlex.split(line, comments=False)
        except ValueError as error:
            raise ScenarioError(number, str(error)) from error
        if line[0].isspace():
            if not scenario.blocks:
                raise ScenarioError(number, "a command before the first trigger")
            scenario.blocks[-1].steps.append(_step(number, words))
        elif words[0] == "gateway":
            scenario.settings |= _known_settings(number, words[1:])
        else:
            scenario.blocks.append(_block(number, words))
    if scenario.blocks and scenario.blocks[0].then:
        raise ScenarioError(scenario.blocks[0].line, "`then` needs a block before it")
    known: frozenset[str] = frozenset()
    for block in scenario.blocks:
        known = known if block.trigger == "after" else _fields_of(block)
        for step in block.steps:
            _check_references(step, known)
    return scenario


def _check_references(step: Step, known: frozenset[str]) -> None:
    for name in _REFERENCE.findall(str(step.command)):
        if name not in known:
            listed = ", ".join(sorted(known)) or "nothing that a command could name"
            raise ScenarioError(step.line, f"{{{brief(name)}}}: the block's trigger has {listed}")


def filled_in(command: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command with the texts of what set its block off in place of their `{FIELD}`."""

    def text_of(value: Any) -> Any:
        if isinstance(value, Mapping):
            return filled_in(value, seen)
        return _REFERENCE.sub(lambda found: str(seen.get(found[1], "")), value)

    return {key: text_of(value) for key, value in command.items()}


def _known_settings(line: int, words: list[str]) -> dict[str, str]:
    pairs = _pairs(line, words)
    trial = Settings()
    for name, text in pairs.items():
        try:
            trial.put(name, text)
        except SettingError as error:
            raise ScenarioError(line, str(error)) from error
    return pairs


def command_of(text: str) -> dict[str, Any]:
    """Return the command in one line, such as `fill order=last price=190`.

    Raises ScenarioError.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ScenarioError(1, str(error)) from error
    if not words:
        raise ScenarioError(1, "nothing is said")
    return dict(_step(1, words).command)


def _step(line: int, words: list[str]) -> Step:
    name = words[0]
    if name not in VERBS:
        raise ScenarioError(line, f"{brief(name)} is no verb: {', '.join(sorted(VERBS))}")
    command: dict[str, Any] = {"do": name}
    for key, text in _pairs(line, words[1:]).items():
        outer, dot, inner = key.partition(".")
        if dot:
            command.setdefault(outer, {})[inner] = text
        else:
            command[key] = text
    allowed = {one.rstrip("?") for one in VERBS[name].fields}
    for key in command:
        if key != "do" and key not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise ScenarioError(line, f"{name} has no field {brief(key)}: {known}")
    return Step(line, command)


def _block(line: int, words: list[str]) -> Block:
    then = words[0] == "then"
    if then:
        words = words[1:]
    trigger = words[0] if words else ""
    if trigger not in TRIGGERS:
        raise ScenarioError(line, f"{brief(trigger)!r} is no trigger: {', '.join(TRIGGERS)}")
    block = Block(line, trigger, then=then or trigger == "after")
    rest = words[1:]
    if trigger in ("at", "after"):
        block.seconds = _seconds(line, rest)
        return block
    if trigger in ("on", "before", "sent"):
        if not rest:
            raise ScenarioError(line, f"{trigger} needs the name of a message")
        block.subject, rest = rest[0], rest[1:]
        known = OUTGOING if trigger == "sent" else _CLIENT_MESSAGES
        if block.subject not in known:
            raise ScenarioError(line, f"{brief(block.subject)} is no such message: {sorted(known)}")
    pairs = _pairs(line, rest)
    block.nth = _nth(line, pairs.pop("nth", "1"))
    each = pairs.pop("each", "no").lower()
    if each not in ("1", "yes", "true", "0", "no", "false"):
        raise ScenarioError(line, f"each={brief(each)} is not yes or no")
    block.each = each in ("1", "yes", "true")
    if trigger == "when":
        block.subject = pairs.pop("order", "1")
        if block.subject != "last":
            _nth(line, block.subject)
    block.where = pairs
    _check_where(line, block)
    return block


def _nth(line: int, text: str) -> int:
    if not is_digits(text) or not int(text[:9]) > 0:
        raise ScenarioError(line, f"{text[:40]!r} is not a number of 1 or more")
    return int(text)


def _check_where(line: int, block: Block) -> None:
    """Refuse a field that the message does not have: it would never match."""
    known = _fields_of(block)
    for name in block.where:
        if name not in known:
            listed = ", ".join(sorted(known)) or "client_id"
            raise ScenarioError(
                line, f"{brief(name)} is no field of {block.subject or block.trigger}: {listed}"
            )


def _fields_of(block: Block) -> frozenset[str]:
    """The fields of what sets a block off."""
    known: frozenset[str] = frozenset()
    match block.trigger:
        case "start" | "at" | "after":
            return known
        case "sent":
            known = OUTGOING[block.subject].names()
        case "on" | "before":
            layout = LAYOUT_OF.get(block.subject)
            known = layout.names() if layout is not None else known
        case "when":
            known = frozenset(EMPTY_ORDER.public(""))
    return known | {"client_id"}


def _seconds(line: int, words: list[str]) -> float:
    try:
        text = words[0]
        seconds = nan if is_written_otherwise(text) else float(text)
    except (IndexError, ValueError) as error:
        raise ScenarioError(line, "a number of seconds is missing") from error
    if not 0 <= seconds <= SECONDS_MAX:
        raise ScenarioError(line, f"{text[:40]} is out of bounds: 0 to {SECONDS_MAX:g} seconds")
    return seconds


def _pairs(line: int, words: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ScenarioError(line, f"{brief(word)!r} is not field=text")
        pairs[name] = text
    return pairs
