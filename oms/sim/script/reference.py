"""The reference pages of the control port and of scenarios, made from the code."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from oms.sim.gateway.faults import ACTIONS, Action, Direction
from oms.sim.protocol.messages import OUTGOING
from oms.sim.protocol.requests import NAMES
from oms.sim.script import scenarios
from oms.sim.script.commands import VERBS
from oms.sim.script.context import CONTRACT_FIELDS, ORDER_FIELDS
from oms.sim.script.verb import Verb
from oms.sim.settings import Settings

_MADE = "<!-- Made by `oms-sim reference`; change the code, not this page. -->\n\n"
_GROUPS = {
    "look": "Looking",
    "market": "The market, the clock and the settings",
    "account": "Cash",
    "life": "Positions that change without a trade",
    "orders": "Orders",
    "sockets": "Sockets",
    "messages": "Messages",
    "faults": "Faults",
}
_ACTIONS = {
    Action.DROP: "the message is lost",
    Action.DELAY: "it comes `seconds` later",
    Action.DUPLICATE: "it comes twice",
    Action.REORDER: "it comes after the next message in that direction",
    Action.TRUNCATE: "its frame ends at `at_byte` (half-way), with the length of what is left",
    Action.CORRUPT: "the byte at `at_byte` is another one",
    Action.HOLD: "it waits for `release`; outgoing, with everything after it",
    Action.HOLD_ANSWER: "it is worked on, what that client would hear from then on waits for"
    " `release`",
    Action.REFUSE: "it is not worked on, the error `code` with `text` is the answer; a refused"
    " startApi closes the socket too",
    Action.CUT: "the connection is lost; outgoing, after `at_byte` bytes of the frame",
    Action.EDIT: "the fields in `set` get other texts",
}


def control_page() -> str:
    """Return the page of the control port: verbs, faults, names of messages."""
    parts = [
        "# The control port\n\n",
        _MADE,
        'One JSON object a line in, one JSON object a line out: `{"ok": true, ...}`, or\n'
        '`{"ok": false, "error": "...", "hint": "..."}` for what cannot be done.\n'
        "The verb stands under the key `do`, each of its fields under its own name:\n"
        '`{"do": "quote", "symbol": "AAPL", "bid": "99"}`.\n'
        "Amounts are text. Fields that end in `?` may be left out; a field that a verb does not"
        " know is an error.\n\n"
        "From the shell: `oms-sim do VERB field=text`, with `set.permId=0` for a field of an"
        " object and `|` between the parts of a list; options, such as `--control-port N`, may"
        " stand anywhere.\n\n"
        "*An order* is named by `order_ref`, by `perm_id`, by `client_id` and `order_id`, or by\n"
        "`order`: its number among those accepted since the gateway began (1, 2, ...), or `last`."
        "\n\n"
        "*A contract* is named by `symbol` (the main listing of a stock or a pair, or a local"
        " symbol such as `ESZ6`), by `con_id`, or spelled out:\n"
        "`symbol=AAPL sec_type=OPT expiry=20270115 strike=200 right=C` (`sec_type` left out is OPT"
        " when there is a strike, else STK).\n"
        "A combination has `legs`, each a symbol or con id with its ratio and side:"
        ' `symbol=KO legs="KO:1:BUY|PEP:1:SELL"`.\n\n'
        "Amounts are finite, quantities at most 1e9 and prices at most 1e7, with at most eight"
        " decimals; texts have at most 10,000 characters and no NUL.\n\n",
    ]
    for group, title in _GROUPS.items():
        parts.append(f"## {title}\n\n| verb | fields | what it does |\n| --- | --- | --- |\n")
        for one in VERBS.values():
            if one.group == group:
                parts.append(f"| `{one.name}` | {_fields(one)} | {one.description} |\n")
        parts.append("\n")
    parts.append(
        "## Actions of a fault\n\n| action | in | out | what happens |\n| --- | --- | --- | --- |\n"
    )
    for action in Action:
        coming = "yes" if action in ACTIONS[Direction.IN] else ""
        going = "yes" if action in ACTIONS[Direction.OUT] else ""
        parts.append(f"| `{action}` | {coming} | {going} | {_ACTIONS[action]} |\n")
    parts.append(
        "\n`message` is IB's name of the message, or `*` for any; `serverVersion` is the frame that"
        " answers a client's versions, which `*` leaves alone. `after` lets so many matching"
        " messages pass first, `probability` hits one in so many by the seed, `where.FIELD=TEXT`"
        " chooses by content.\n\n## Names of messages\n\n"
    )
    parts.append("From clients: " + _listed(NAMES.values()) + ".\n\n")
    parts.append("To clients: " + _listed(OUTGOING) + ".\n")
    return "".join(parts)


def scenario_page() -> str:
    """Return the page of scenario files: their form, and the settings."""
    text = scenarios.__doc__ or ""
    shown = "\n".join(line.rstrip() for line in text.strip().splitlines()[2:])
    parts = [
        "# Scenario files\n\n",
        _MADE,
        "Files in which a person writes what happens, and when.\n"
        "Play one with `oms-sim script FILE`, or in a test with\n"
        "`Player(Scenario.read(path), gateway).start()`.\n\n",
        "```\n" + shown + "\n```\n\n",
        "The verbs are those of the [control port](simulator-control.md).\n"
        "Blocks happen in the order of their triggers, not of the file; a block's commands happen"
        " one after the other, with nothing of a client in between.\n"
        "`before` acts at once; every other trigger acts when the message that set it off is"
        " finished.\n"
        "A command that cannot be done is reported at the end, and so is a trigger that never"
        " came.\n\n",
        "## Settings of the `gateway` line\n\n| setting | default | meaning |\n"
        "| --- | --- | --- |\n",
    ]
    default = Settings()
    meanings = setting_meanings()
    for one in fields(Settings):
        value = getattr(default, one.name)
        shown_value = ",".join(value) if isinstance(value, tuple) else value
        parts.append(f"| `{one.name}` | {shown_value} | {meanings[one.name]} |\n")
    return "".join(parts)


def setting_meanings() -> dict[str, str]:
    """The text under each setting in the source: Python keeps it nowhere else."""
    (settings,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    meanings = {}
    for pair in pairwise(settings.body):
        match pair:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                meanings[name] = " ".join(text.split())
    return meanings


def pages() -> dict[str, str]:
    """Return every page, by its file name."""
    return {
        "simulator-control.md": control_page(),
        "simulator-scenarios.md": scenario_page(),
    }


def write(folder: Path) -> list[Path]:
    """Write the pages and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written


def _fields(one: Verb) -> str:
    """The fields of a verb; the ways to name an order or a contract count as one each."""
    listed = list(one.fields)
    shown = []
    for title, names in (("*an order*", ORDER_FIELDS), ("*a contract*", CONTRACT_FIELDS)):
        if set(names) <= set(listed):
            listed = [name for name in listed if name not in names]
            shown.append(title)
    return ", ".join(shown + [f"`{name}`" for name in listed])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
