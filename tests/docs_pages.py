"""Reference pages that the code writes: settings, events, errors, metrics, log actions, commands,
the simulator.

`PAGES` maps each file to the function that makes its text. `tests/unit/test_docs.py` compares them
with what is stored, and `pytest --update-docs` rewrites them.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from oms import errors, telemetry
from oms.core import contracts
from oms.core.bounds import BOUNDS
from oms.core.events import (
    EVENT_TYPES,
    access,
    base,
    broker,
    cases,
    checkpoints,
    daemon,
    envelope,
    keeping,
    orders,
    reconciliation,
    requests,
    watchman,
)
from oms.errors import OmsError
from oms.settings import CONFIG_VARIABLE, Settings
from oms.sim.script import reference
from tests.house import HOUSE, INNER_ROOMS

ROOT = Path(__file__).resolve().parents[1]
GENERATED = "<!-- Written by `pytest --update-docs tests/unit/test_docs.py`; edit the code. -->"
LOG_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


#: The modules of the events, in the order in which the page tells of them.
EVENT_MODULES = (
    *(daemon, orders, requests, broker, reconciliation, cases, watchman, checkpoints),
    *(keeping, access, base, envelope),
)


def settings_page() -> str:
    rows = [
        (
            f"`{row.name}`",
            f"`{row.env}`",
            f"`{row.default}`" if row.default else "none",
            _escaped("; ".join(part for part in (row.unit, row.bounds) if part)),
            _escaped(row.description),
        )
        for row in Settings().describe()
    ]
    return _page(
        "Settings",
        _lines(
            "Each setting is looked for in this order: an argument, the environment variable, a "
            "`.env` file in the working directory, a TOML file.",
            "The TOML file is `oms.toml` in the working directory, or the path in "
            f"`{CONFIG_VARIABLE}`; its keys are the names in the first column.",
            "`oms settings` shows the value in force and where it came from.",
        ),
        _lines(
            "A name that is not in this table is refused, wherever it is said: a misspelt limit "
            "would otherwise be no limit.",
            "An empty variable counts as not set.",
            "Lists are written with commas.",
        ),
        _table(("Setting", "Variable", "Default", "Unit and bounds", "Why"), rows),
    )


def env_example() -> str:
    lines = [
        "# Copy to .env and change what you need; every line is optional.",
        "# Each setting is explained in docs/reference/settings.md.",
        "# The port says what the gateway is: 4002 paper Gateway, 7497 paper TWS; 4001 live",
        "# Gateway, 7496 live TWS. A live account is refused unless OMS_MODE says live.",
    ]
    for row in Settings().describe():
        hint = "; ".join(part for part in (row.unit, row.bounds) if part)
        lines += ["", f"# {hint}"] if hint else [""]
        lines.append(f"#{row.env}={row.default}")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    tree = inspect.getdoc(errors) or ""
    rows = [
        (
            f"`{cls.__name__}`",
            _escaped(inspect.getdoc(cls) or ""),
            str(cls.exit_code),
            "yes" if cls.transient else "no",
            _escaped(cls.default_hint),
        )
        for cls in error_types()
    ]
    return _page(
        "Errors",
        _lines(
            "Every error that a caller or an operator can meet is a subclass of "
            "`oms.errors.OmsError`.",
            "It carries `message`, `hint` (what to do next), `exit_code` (see "
            "[exit codes](exit-codes.md)) and `transient` (whether the same call can succeed later "
            "without a change).",
            "`OrderDenied` is the name of an event; the exception that had this name too is "
            "`OrderDeniedError`, and its old name is taken with a `DeprecationWarning`.",
        ),
        "```text\n" + inspect.cleandoc(re.split(r"\n\n(?=The class)", tree)[0]) + "\n```",
        _table(("Error", "Meaning", "Exit code", "Transient", "Hint"), rows),
    )


def metrics_page() -> str:
    rows = [
        (f"`{row.name}`", row.kind, _escaped(row.description))
        for row in telemetry.describe_metrics()
    ]
    return _page(
        "Metrics",
        _lines(
            "Prometheus reads them on `OMS_METRICS_PORT` (off by default) at `/metrics`.",
            "Names and labels are an API: alerts depend on them.",
        ),
        _table(("Metric", "Kind", "Meaning"), rows),
    )


def log_actions_page() -> str:
    rows = [
        (
            f"`{call.action}`",
            call.level,
            f"`{call.room}`",
            ", ".join(f"`{name}`" for name in call.fields),
        )
        for call in sorted(log_calls(), key=lambda call: (call.action, call.room))
    ]
    return _page(
        "Log actions",
        _lines(
            "Program messages go to stderr, one line each; JSON unless stderr is a terminal "
            "(`OMS_LOG_FORMAT`).",
            "`action` is the machine name of a message and an API: alerts and crash tests match on "
            "it.",
            "Every line also has `at` (UTC), `level` and `room`, the part of the program that "
            "writes it; ids are the same as the events'.",
            f"What libraries say has the action `{telemetry.LIBRARY_ACTION}`, with their text in "
            "`message`.",
        ),
        _table(("Action", "Level", "Room", "Fields"), dict.fromkeys(rows)),
    )


def rules_page() -> str:
    from oms.core.admit.rules import RULES

    rows = [
        (
            f"`{rule.name}`",
            _escaped(rule.refuses),
            _escaped(rule.reads),
            ", ".join(f"`{name}`" for name in rule.settings) or "always holds",
            "yes" if rule.changes else "no",
        )
        for rule in RULES
    ]
    return _page(
        "Rules before sending",
        _lines(
            "Every new order meets these rules in this order, after its contract was qualified and "
            "before its intent is written; the first that refuses denies it.",
            "A denial is an `OrderDenied` event (`ModifyDenied` for a change) with the name of the "
            "rule, the value it saw and the limit it kept; nothing is sent.",
            "The names of the rules that had a limit are kept with the intent, in `checks`.",
            "A group (bracket, OCA) is denied as a whole; what counts orders counts each of them.",
            "Cancels meet no rule.",
        ),
        _table(("Rule", "Refuses", "Looks at", "Settings", "Changes too"), rows),
        _lines(
            "The limits are explained in [settings](settings.md) and in "
            "[limits and halting](../how-to/limits-and-halting.md).",
            "`--dry-run` of an order verb shows what each rule makes of an order.",
        ),
    )


def events_page() -> str:
    source = Source(*EVENT_MODULES)
    parts: list[str] = []
    for module in EVENT_MODULES:
        defined = [cls for cls in EVENT_TYPES.values() if cls.__module__ == module.__name__]
        if defined:
            parts.append(f"## {inspect.cleandoc(module.__doc__ or '').rstrip('.')}")
        for cls in defined:
            parts += [f"### {cls.__name__}", source.describe(cls.__name__)]
            if cls.VERSION > 1:
                parts.append(f"Version {cls.VERSION}.")
            parts.append(source.fields_table(cls.__name__))
    parts.append("## Values inside events")
    for name in (
        *("Terms", "Question", "Span", "Finding", "CheckpointKept"),
        *("PartVersion", "SettingInForce"),
    ):
        parts += [f"### {name}", source.describe(name), source.fields_table(name)]
    contract = Source(contracts)
    parts += ["### Contract", contract.describe("Contract"), contract.fields_table("Contract")]
    parts += ["## Vocabularies", _table(("Name", "Values"), source.vocabularies())]
    return _page(
        "Events",
        _lines(
            "Every fact that the log can hold, in groups.",
            "A fact's class name is its name in the log for ever.",
            "Numbers of money are JSON strings, absent values are left out.",
            "What each type can be stands in [bounds](bounds.md).",
            "Names that end in *Received* are broker messages: their wire fields are kept beside "
            "the payload.",
        ),
        "## The envelope",
        "Every event stands in the log inside an envelope; the context is the part of it that "
        "comes with the fact.",
        source.fields_table("Envelope"),
        source.fields_table("Context"),
        "A message that passed the socket has a stamp.",
        source.fields_table("Stamp"),
        *parts,
    )


def bounds_page() -> str:
    rows = [(f"`{name}`", _escaped(str(row)), _escaped(row.why)) for name, row in BOUNDS.items()]
    return _page(
        "Bounds",
        _lines(
            "What each kind of number, text and time can be; `oms.core.bounds` is the table; "
            "[why](../decisions/0090-one-table-of-bounds.md).",
            "The fields of [events](events.md) have these types, so what the log takes, both "
            "databases can hold. No text holds the character NUL.",
            "What a person or a program asks for is refused above the last rows, with exit status "
            "2; a broker message that is out of bounds is kept as unreadable.",
        ),
        _table(("Kind", "Can be", "Why"), rows),
    )


_SPREADSHEETS: Final = (
    "`events.csv` is UTF-8 with a byte order mark, has commas, and begins with the names of the "
    "columns; a spreadsheet opens it.",
    "With `csv-semicolon` columns end with semicolons and numbers have a comma before their "
    "decimals, as spreadsheets of many countries of Europe and South America want them; events are "
    "not written so.",
    "A spreadsheet has fifteen digits of a number, and takes an id such as `1e5` for one: let it "
    "read columns of the kind text as text.",
)


def export_page() -> str:
    """Return the reference of exports, from the table that their files are made by."""
    from oms.history.columns import CLOCKS, COLUMNS, ORDER_EVENTS
    from oms.history.formats import DECIMALS, DIGITS, FORMULA, PART_ROWS

    def columns(table: Iterable[Any]) -> str:
        rows = [
            (f"`{one.name}`", one.kind + (", personal" if one.personal else ""), one.meaning)
            for one in table
        ]
        return _table(("Column", "Kind", "Meaning"), rows)

    signs = " ".join(f"`{sign}`" for sign in FORMULA if sign.isprintable())
    return _page(
        "Exports",
        _EXPORTED,
        "## Kinds",
        _kinds(),
        _lines(
            "Nothing is rounded but a quotient in Parquet, which comes of a division and has no "
            "last digit.",
            f"A number of {10**0}0^{DIGITS - DECIMALS} or more, or with more than {DECIMALS} "
            "decimals, is refused in Parquet with its name; the other forms hold every number of "
            "[the bounds](bounds.md).",
            "What is absent is `null`; in CSV it is empty.",
        ),
        "## Files",
        _lines(
            "`events.jsonl` and the like have one JSON object a line.",
            *_SPREADSHEETS,
            f"Text that begins with {signs}, a tab or a line end gets an apostrophe in front, "
            "because a spreadsheet would calculate it; take one apostrophe away to have the text.",
            f"Parquet has a folder `events` with files of {PART_ROWS:,} rows, compressed with "
            "gzip; to write it needs `pip install 'ib-oms[parquet]'`, to check it does not.",
            "`manifest.json` says what was asked, `first` and `last` event of the range, how many "
            "rows, versions, columns, the digest of each file, and for a whole range of events "
            "the [chain](log-format.md#exports-and-packs); unless masked, `head` has the sequence "
            "and the hash of the event that the log ended with.",
            "Beside events stand `checkpoints.jsonl`, what was signed, and `proofs.jsonl`, with "
            "which every event that a checkpoint covers is "
            "[held against it](log-format.md#under-which-checkpoints-its-events-stand), also where "
            "others are left out; a masked export has neither.",
            "A range without an event is refused with status 2.",
            "`sha256sum -c manifest.sha256` checks the manifest, `python -m oms.verify OUT` all.",
            "With a signing key in the settings `manifest.note` is its signature: "
            "`python -m oms.verify OUT --key oms.key.pub`.",
        ),
        _lines(
            "Each event is held against its hash and each row of the books against its digest; "
            "where one does not hold, the export ends with status 4, and nothing is there. So it "
            "does where the log is not the one of its head file and of its signed checkpoints.",
            "OUT is there when all of it is durable, or not at all; only its owner can read it.",
            "Until then it is `OUT.part`; after an interruption the same command checks what is "
            "there and goes on, to the same bytes.",
            "Where the books have moved on meanwhile, their rows are written anew.",
            "On a full disk nothing is left; one with the log on it counts as full where less "
            "than `OMS_DISK_FREE_MEGABYTES_MIN` would stay free.",
        ),
        "## Reading it",
        "With DuckDB:",
        "```python\n" + _READ_DUCKDB + "```",
        "With pandas:",
        "```python\n" + _READ_PANDAS + "```",
        "## Masks",
        _masks(),
        *(part for name, table in COLUMNS.items() for part in (f"## {name}", columns(table))),
        *("## In a pack: order_events.csv", _BY_NOW, columns(ORDER_EVENTS)),
        *("## In a pack: clocks.csv", columns(CLOCKS)),
    )


_BY_NOW = (
    "Which order an event belongs to is told by what is known when the pack is made: an order "
    "that was adopted later has its events of before."
)
_EXPORTED = "\n".join(
    (
        "`oms export WHAT OUT` writes events, orders, fills, positions or cases to the new "
        "folder OUT; `--format` is `jsonl`, `csv`, `csv-semicolon` or `parquet`.",
        "Which rows, is said with the conditions that every list takes: `oms export --help`.",
        "`--since` and `--until` mean when the log recorded a thing; the end is not part of it.",
        "Of fills with `--as-of MOMENT --by happened` they mean when IB says that they were "
        "executed: for the file of a tax year, `oms export fills y --format csv --since "
        "2026-01-01 --until 2027-01-01 --zone America/New_York --as-of today --by happened`.",
        "Events are as they are stored; orders, fills, positions and cases are as the books "
        "have them when the export is made, or with `--as-of` as they had them at a moment.",
    )
)


def _masks() -> str:
    return _lines(
        "`--mask --key FILE` writes pseudonyms such as `masked-h3t6w2k4q7ab` for accounts and "
        "names: of people, strategies, machines, groups, orderRefs of others, and numbers of "
        "cases, which are made of an account.",
        "They are replaced in columns, in payloads, in wire fields, in free text and in the "
        "question of the manifest; what looks like an account of IB's, an address of mail or the "
        "folder of a machine's user is replaced even where no field named it.",
        "An account is found with a space or a sign in it, and by its digits alone; a person by "
        "each word of the name that has three letters or more, where it stands alone.",
        "Of the settings in the log numbers and plain words are shown, but no host, query, name "
        "and account, and no path and address.",
        "In words of IB's and of ours, such as a side or a state, only what has a digit is "
        "replaced: a strategy called `buy` changes no side.",
        "The pseudonym is the first 60 bits of HMAC-SHA256 under the key: the same key gives "
        "the same pseudonym in every export, and without the key nobody can tell who it is.",
        "Make a key with `(umask 077; head -c 32 /dev/urandom > mask.key)`; whoever has it can "
        "find out who is who by trying names.",
        "A masked export has no hashes and no chain, because whoever tries all account numbers "
        "would find the one whose hash fits; `log` in its manifest is a pseudonym too, and so is "
        "every digest that stands in an event or in a text.",
        "What it does not find: a name that no field of the log has ever named, in a text that "
        "a person wrote, and one that is spelled in another way. A name of at most four letters "
        "is replaced where it stands alone. When things happened, and which contracts, it shows: "
        "who knows the deals of an account knows whose they are.",
    )


def _kinds() -> str:
    from oms.history.formats import DECIMALS, DIGITS

    rounded = f"the same, rounded to {DECIMALS} decimals, half to even"
    kinds = [
        ("text", "text", "text", "string"),
        ("integer", "number", "digits", "int64"),
        ("number", "text, every digit", "every digit", f"decimal128({DIGITS}, {DECIMALS})"),
        ("quotient", "text, every digit", "every digit", rounded),
        ("time", "ISO 8601, UTC, microseconds", "the same", "timestamp(us, UTC)"),
        ("flag", "`true`, `false`", "`true`, `false`", "bool"),
        ("json", "text that holds JSON", "the same", "string"),
    ]
    return _table(("Kind", "JSON lines", "CSV", "Parquet"), kinds)


_READ_DUCKDB = """\
import duckdb

fills = duckdb.sql("SELECT * FROM 'fills/fills/*.parquet'")
paid = duckdb.sql(
    "SELECT symbol, currency, sum(value) AS value, sum(commission) AS commission"
    " FROM fills WHERE status <> 'busted' GROUP BY ALL ORDER BY ALL"
)
print(paid.fetchall())
kinds = duckdb.sql("SELECT type, count(*) AS events FROM 'events/events.jsonl' GROUP BY type")
print(kinds.fetchall())
"""

_READ_PANDAS = """\
import pandas

fills = pandas.read_parquet("fills/fills", dtype_backend="pyarrow")
print(fills.groupby("commission_currency")["commission"].sum())
sheet = pandas.read_csv(
    "sheet/fills.csv", dtype={"quantity": "str", "price": "str"}, parse_dates=["occurred_at"]
)
print(sheet[["occurred_at", "symbol", "side", "quantity", "price"]].head())
"""


def commands_page() -> str:
    """Return the command reference, from the command line program itself."""
    import click

    command = command_line()
    parts: list[str] = []
    for path, verb in verbs(command, "oms"):
        context = click.Context(verb, info_name=path)
        rows = [
            (
                f"`{_escaped(' '.join([*option.opts, *option.secondary_opts]))}`",
                _escaped(getattr(option, "help", None) or ""),
                "" if option.default in {None, False, (), ""} else f"`{option.default}`",
            )
            for option in verb.get_params(context)
            if option.name != "help" and not getattr(option, "hidden", False)
        ]
        usage = verb.get_usage(context).removeprefix("Usage: ")
        parts += [f"## {path}", f"```text\n{usage}\n```", *_help(verb.help)]
        if rows:
            parts.append(_table(("Argument", "Meaning", "Default"), rows))
    return _page("Commands", *_help(command.help), *parts)


def imports_page() -> str:
    rows = [
        (f"`{room or 'oms'}`", _listed(may.rooms), _listed(may.packages))
        for room, may in HOUSE.items()
    ]
    inner = [(f"`{room}`", _listed(may.rooms)) for room, may in INNER_ROOMS.items()]
    return _page(
        "Who may import whom",
        _lines(
            "The standard library is open to all, and a room may always import itself.",
            "Within `service`, only `daemon` constructs what `store` and `broker` hold.",
            "`oms` is the front door: it only passes names on.",
        ),
        _table(("Room", "May import of `oms`", "Packages of others"), rows),
        _lines(
            "`core` and `sim` have rooms inside them.",
            "The modules beside these are the hall, which is open to all of them.",
        ),
        _table(("Room inside a room", "May import of its neighbours"), inner),
        "`tests/unit/test_architecture.py` holds it; a new room gets its row in `tests/house.py`.",
    )


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


PAGES: dict[str, Callable[[], str]] = {
    ".env.example": env_example,
    "docs/reference/settings.md": settings_page,
    "docs/reference/events.md": events_page,
    "docs/reference/bounds.md": bounds_page,
    "docs/reference/export.md": export_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/rules.md": rules_page,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/log-actions.md": log_actions_page,
    "docs/reference/cli.md": commands_page,
    "docs/internals/imports.md": imports_page,
    "docs/reference/simulator-control.md": reference.control_page,
    "docs/reference/simulator-scenarios.md": reference.scenario_page,
}


# ── reading the code ─────────────────────────────────────────────────────────────────────────────


def error_types(root: type[OmsError] = OmsError) -> Iterator[type[OmsError]]:
    """Yield the tree of errors, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from error_types(child)


def command_line() -> Any:
    """Return the command line program; imported here, so that the other pages can do without."""
    import typer

    from oms.cli import app

    return typer.main.get_command(app)


def verbs(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every verb of a command line program with its full name, groups left out."""
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in sorted(command.list_commands(None)):
        child = command.get_command(None, name)
        if not child.hidden:
            yield from verbs(child, f"{path} {name}")


@dataclass(frozen=True)
class LogCall:
    """One place that writes a program message."""

    action: str
    level: str
    room: str
    fields: tuple[str, ...]


def log_calls() -> Iterator[LogCall]:
    """Yield every program message that the OMS can write; the simulator's are prose."""
    for path in sorted((ROOT / "oms").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        rooms = re.findall(r'get_logger\("([\w.]+)"\)', text)
        if path.is_relative_to(ROOT / "oms" / "sim") or not rooms:
            continue
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "_log" | "logger"), attr=level),
                    args=[action, *_],
                    keywords=keywords,
                ) if level in LOG_LEVELS:
                    fields = tuple(keyword.arg or "**" for keyword in keywords)
                    name = action.value if isinstance(action, ast.Constant) else ast.unparse(action)
                    yield LogCall(str(name), level, rooms[0], fields)


class Source:
    """The text of modules: docstrings and `#:` comments."""

    def __init__(self, *modules: Any) -> None:
        text = "\n".join(inspect.getsource(module) for module in modules)
        self.lines = text.splitlines()
        self.body = ast.parse(text).body
        self.classes = {node.name: node for node in self.body if isinstance(node, ast.ClassDef)}

    def describe(self, name: str) -> str:
        """Return a class's docstring, one paragraph a line."""
        text = inspect.cleandoc(ast.get_docstring(self.classes[name]) or "")
        return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))

    def fields_table(self, name: str) -> str:
        """Return the fields of a class with type, default and meaning; "" where it has none."""
        rows = [
            (
                f"`{node.target.id}`",
                f"`{_escaped(ast.unparse(node.annotation))}`",
                "required" if node.value is None else f"`{_escaped(ast.unparse(node.value))}`",
                _escaped(self._comment_above(node.lineno)),
            )
            for node in self.classes[name].body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and not ast.unparse(node.annotation).startswith("ClassVar")
        ]
        return _table(("Field", "Type", "Default", "Meaning"), rows) if rows else ""

    def vocabularies(self) -> Iterator[tuple[str, str]]:
        """Yield the names of closed sets of words, with their words."""
        for node in self.body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Subscript(value=ast.Name(id="Literal"), slice=words),
                ):
                    members = words.elts if isinstance(words, ast.Tuple) else [words]
                    yield f"`{name}`", ", ".join(f"`{ast.literal_eval(m)}`" for m in members)
                case _:
                    pass

    def _comment_above(self, lineno: int) -> str:
        found: list[str] = []
        for line in reversed(self.lines[: lineno - 1]):
            if not line.strip().startswith("#:"):
                break
            found.insert(0, line.strip().removeprefix("#:").strip())
        return " ".join(found)


# ── writing Markdown ─────────────────────────────────────────────────────────────────────────────


def _page(title: str, *parts: str) -> str:
    return "\n\n".join(part for part in (f"# {title}", GENERATED, *parts) if part) + "\n"


def _lines(*sentences: str) -> str:
    return "\n".join(sentences)


def _help(text: str | None) -> Iterator[str]:
    """Yield a help text's paragraphs; those that click leaves alone (\\b) are set as they stand."""
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```"
        else:
            yield " ".join(paragraph.split())


def _table(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headers, tuple("---" for _ in headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
