"""The rules of the house, as tests; docs/internals/architecture.md shows what they hold.

Each rule is a function from a parsed module to sentences about what is wrong in it. Each is first
shown a snippet that breaks it, so that a rule which has gone blind is noticed; then all modules.
"""

from __future__ import annotations

import ast
import asyncio  # noqa: F401 - a base whose hooks are looked up by name
import logging  # noqa: F401 - the same
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from oms.cli.verbs import VERBS
from tests.house import HOUSE, INNER_ROOMS

ROOT = Path(__file__).resolve().parents[2]

FUNCTION_LINES_MAX = 70


#: The only readers of time; the simulator knows nothing of oms, hence has a clock of its own.
CLOCKS = {"oms.clock", "oms.sim.clock"}

BANNED_WORDS = {"data", "info", "manager", "helper", "util", "process", "handle", "trade"}
#: Identifiers with a banned word that say what they mean.
BANNED_WORDS_GRACE = {
    "OrderManager": "the name that strategies know (glossary)",
    "manager": "an OrderManager, and its module (architecture)",
    "_manager": "the same",
    "market_data": "what the whole field calls it",
    "get_account_info": "the interface that trading engines expect",
    "subscribe_market_data": "the same",
    "unsubscribe_market_data": "the same",
    "process_id": "a process of the operating system",
    "process_is_alive": "the same",
    "_data_version": "SQLite's own name for it",
    "CharacterDataHandler": "a hook of xml.parsers.expat",
    "data_received": "a hook of asyncio.Protocol",
}

CLOCK_READS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
}


@dataclass(frozen=True)
class Module:
    """A parsed file; `name` is dotted, `oms.core.money` or `tests.unit.test_money`."""

    name: str
    tree: ast.Module

    @property
    def room(self) -> str | None:
        """Return the room of the house, or None outside it."""
        head, _, rest = self.name.partition(".")
        return rest.split(".")[0] if head == "oms" else None


Rule = Callable[[Module], Iterator[str]]


# ── the rules ────────────────────────────────────────────────────────────────────────────────────


def imports_only_what_its_room_may(module: Module) -> Iterator[str]:
    if module.room is None:
        return
    rule = HOUSE.get(module.room)
    if rule is None:
        yield f"oms.{module.room} is no room of the house; add it to HOUSE with what it may import"
        return
    for line, name in imported(module.tree):
        head, _, rest = name.partition(".")
        if head in sys.stdlib_module_names:
            continue
        if head != "oms":
            if head not in rule.packages:
                yield f"line {line}: imports {head}"
        elif rest.split(".")[0] != module.room and not any(
            rest == room or rest.startswith(f"{room}.") for room in rule.rooms
        ):
            yield f"line {line}: imports {name}"


def inner_rooms_import_in_one_direction(module: Module) -> Iterator[str]:
    own = set(inner_rooms_of(module.name))
    for line, name in imported(module.tree):
        for room in inner_rooms_of(name):
            beside = {one for one in own if one.rpartition(".")[0] == room.rpartition(".")[0]}
            for one in beside - {room}:
                if room not in INNER_ROOMS[one].rooms:
                    yield f"line {line}: {one} imports {name}"


def inner_rooms_of(name: str) -> list[str]:
    """Return the rooms inside a room that a module, or what it imports, is in: outermost first."""
    parts = name.removeprefix("oms.").split(".")
    found = [".".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
    return [room for room in found if name.startswith("oms.") and room in INNER_ROOMS]


def only_the_daemon_constructs_store_and_broker(module: Module) -> Iterator[str]:
    if module.room != "service" or module.name == "oms.service.daemon":
        return
    for line, name in imported(without_types(module.tree)):
        if name.startswith(("oms.store", "oms.broker")):
            yield f"line {line}: imports {name}; import its type only, take it as an argument"


def imports_nothing_by_name_at_run_time(module: Module) -> Iterator[str]:
    # The command line loads the file of a verb when it is called, from its own table.
    if module.room is None or module.name == "oms.cli.verbs":
        return
    for node in walked(module.tree):
        if isinstance(node, ast.Call) and name_of_call(node) in {"__import__", "import_module"}:
            yield f"line {node.lineno}: an import that the import rule cannot see"


def uses_no_mock_library(module: Module) -> Iterator[str]:
    for line, name in imported(module.tree):
        if name.startswith(("unittest.mock", "mock.", "pytest_mock")) or name == "mock":
            yield f"line {line}: imports {name}"
    for node in walked(module.tree):
        if isinstance(node, ast.arg) and node.arg == "mocker":
            yield f"line {node.lineno}: asks for the fixture mocker"


def core_knows_no_float(module: Module) -> Iterator[str]:
    if module.room != "core":
        return
    refused = {
        # `case float():` is how a float is told apart in order to be refused.
        id(node.cls)
        for node in walked(module.tree)
        if isinstance(node, ast.MatchClass)
    }
    for node in walked(module.tree):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        named = isinstance(node, ast.Name) and node.id == "float" and id(node) not in refused
        if literal or named:
            yield f"line {node.lineno}: a float"


def reads_no_clock(module: Module) -> Iterator[str]:
    if module.room is None or module.name in CLOCKS:
        return
    # A clock in a variable called `time` is as it should be.
    modules_and_types = {name.rpartition(".")[2] for _, name in imported(module.tree)}
    for node in walked(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in modules_and_types:
                if attr in CLOCK_READS.get(owner, ()):
                    yield f"line {node.lineno}: {owner}.{attr}"
            case ast.Attribute(value=ast.Call() as call, attr="time"):
                if name_of_call(call) in {"get_running_loop", "get_event_loop"}:
                    yield f"line {node.lineno}: the event loop's time"
            case ast.ImportFrom(module="time", names=names):
                for alias in names:
                    if alias.name in CLOCK_READS["time"]:
                        yield f"line {node.lineno}: time.{alias.name}"
            case _:
                pass


def functions_fit_a_screen(module: Module) -> Iterator[str]:
    for node in walked(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"line {node.lineno}: {node.name} has {lines} lines"


def says_what_it_is(module: Module) -> Iterator[str]:
    if module.tree.body and not ast.get_docstring(module.tree):
        yield "has no docstring"


def promises_are_said(module: Module) -> Iterator[str]:
    """What is public says what it promises. A method that overrides one is excepted, because its
    promise stands with the base; so is a function inside another one, which nobody can call.
    """
    if module.room is None:
        return
    for owner, node in public_functions(module.tree):
        if not ast.get_docstring(node) and not (owner is not None and overrides(owner, node.name)):
            yield f"line {node.lineno}: {node.name} has no docstring"


def postpones_annotations(module: Module) -> Iterator[str]:
    annotated = (ast.FunctionDef, ast.AsyncFunctionDef, ast.AnnAssign)
    code = [node for node in module.tree.body if not is_docstring(node)]
    if any(isinstance(node, annotated) for node in walked(module.tree)) and not (
        isinstance(code[0], ast.ImportFrom)
        and code[0].module == "__future__"
        and [alias.name for alias in code[0].names] == ["annotations"]
    ):
        yield "does not begin with `from __future__ import annotations`"


def names_say_what_things_are(module: Module) -> Iterator[str]:
    if module.room is None:
        return  # Tests speak the words of the libraries that they drive.
    for line, name in [(1, module.name.rsplit(".", 1)[-1]), *defined(module.tree)]:
        if name in BANNED_WORDS_GRACE:
            continue
        for word in words_of(name) & BANNED_WORDS:
            yield f"line {line}: {name} (say what it is instead of {word!r})"


#: Where values and records are made and checked.
MAKERS = {"oms.core.values", "oms.core.fold.records.row", "oms.core.fold.records.tables"}


def copies_are_checked(module: Module) -> Iterator[str]:
    if module.room is None or module.name in MAKERS:
        return
    for node in walked(module.tree):
        if isinstance(node, ast.Call) and name_of_call(node) in {"force_setattr", "__copy__"}:
            yield f"line {node.lineno}: a value that nothing checks; say `evolve`"


#: Packages whose names are taken from the package: how it is divided is its own affair.
ONE_NAMESPACE = ("oms.broker.translate", "oms.core.events", "oms.core.fold.records")


def takes_names_from_their_package(module: Module) -> Iterator[str]:
    if module.room is None:
        return
    for line, name in imported(module.tree):
        for package in ONE_NAMESPACE:
            inside = module.name.startswith(package)
            if not inside and re.match(rf"{re.escape(package)}\.[a-z_]+\.", name):
                yield f"line {line}: imports {name}; take it from {package}"


def shows_text_as_it_may_be_shown(module: Module) -> Iterator[str]:
    if module.room != "cli" or module.name in {"oms.cli.output", "oms.cli.terminal"}:
        return
    for node in walked(module.tree):
        if isinstance(node, ast.Call) and name_of_call(node) in {"echo", "secho", "Console"}:
            yield f"line {node.lineno}: controls in it are obeyed; say `write`, `say` or `Screen`"


RULES: dict[Rule, tuple[str, str]] = {
    # rule: (name of a module, a text of it that breaks the rule)
    imports_only_what_its_room_may: ("oms.core.x", "def f():\n    from oms.store import log"),
    inner_rooms_import_in_one_direction: (
        "oms.core.fold.x",
        "from oms.core.compare.findings import Thing",
    ),
    only_the_daemon_constructs_store_and_broker: ("oms.service.x", "import oms.store.log"),
    imports_nothing_by_name_at_run_time: ("oms.cli.x", "importlib.import_module('ib_async')"),
    uses_no_mock_library: ("tests.unit.x", "from unittest import mock"),
    core_knows_no_float: ("oms.core.x", "half = 0.5"),
    reads_no_clock: ("oms.service.x", "from datetime import datetime\nat = datetime.now(UTC)"),
    functions_fit_a_screen: ("oms.x", "def f():\n" + "    a = 1\n" * FUNCTION_LINES_MAX),
    says_what_it_is: ("oms.x", "a = 1"),
    promises_are_said: ("oms.x", "class Order:\n    def send(self): ..."),
    postpones_annotations: ("oms.x", '"""It."""\n\ndef f(): ...'),
    names_say_what_things_are: ("oms.x", "def get_trade_info(): ..."),
    takes_names_from_their_package: ("oms.x", "from oms.core.events.orders import Terms"),
    shows_text_as_it_may_be_shown: ("oms.cli.x", "typer.echo(order.order_ref)"),
    copies_are_checked: ("oms.x", "force_setattr(finding, 'break_class', 'mising_fill')"),
}


# ── the tests ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_sees_what_breaks_it(rule: Rule) -> None:
    name, text = RULES[rule]
    assert list(rule(Module(name, ast.parse(text))))


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (imports_only_what_its_room_may, "oms.sim.x", "import ib_async"),
        (imports_only_what_its_room_may, "oms.sim.x", "from oms import core"),
        (imports_only_what_its_room_may, "oms.sim.x", "from oms.core import money"),
        (imports_only_what_its_room_may, "oms.cli.x", "from oms.broker.session import Session"),
        (imports_only_what_its_room_may, "oms.store.x", "import ib_async"),
        (imports_only_what_its_room_may, "oms.settings", "from oms.core import events"),
        (imports_only_what_its_room_may, "oms.attic.x", "import os"),
        (inner_rooms_import_in_one_direction, "oms.core.admit.x", "from oms.core import compare"),
        (inner_rooms_import_in_one_direction, "oms.sim.broker.x", "import oms.sim.gateway.link"),
        (
            inner_rooms_import_in_one_direction,
            "oms.sim.broker.exchange.x",
            "if TYPE_CHECKING:\n    from oms.sim.broker.books.orders import Order",
        ),
        (core_knows_no_float, "oms.core.x", "a = float(b)"),
        (core_knows_no_float, "oms.core.x", "def f(price: float): ..."),
        (reads_no_clock, "oms.x", "import time\ntime.monotonic()"),
        (reads_no_clock, "oms.x", "from time import perf_counter"),
        (reads_no_clock, "oms.sim.gateway", "asyncio.get_running_loop().time()"),
        (uses_no_mock_library, "tests.x", "def test_it(mocker): ..."),
        (names_say_what_things_are, "oms.x", "class TradeHandle: ..."),
        (names_say_what_things_are, "oms.x", "self.last_data = 1"),
        (promises_are_said, "oms.x", "async def send(): ..."),
        (promises_are_said, "oms.x", "class Reader(asyncio.Protocol):\n    def read(self): ..."),
        (names_say_what_things_are, "oms.core.utils", ""),
    ],
)
def test_rule_is_not_walked_around(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Module(name, ast.parse(text))))


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (imports_only_what_its_room_may, "oms.core.x", "from oms.core import money"),
        (imports_only_what_its_room_may, "oms.settings", "from oms.core.money import plain"),
        (imports_only_what_its_room_may, "oms.sim.x", "from oms.sim import wire"),
        (
            inner_rooms_import_in_one_direction,
            "oms.core.compare.x",
            "from oms.core.fold.records import Order\nfrom oms.core.terms import differing",
        ),
        (
            inner_rooms_import_in_one_direction,
            "oms.sim.broker.x",
            "from oms.sim.broker.books.orders import Order\nfrom oms.sim.clock import Clock",
        ),
        (core_knows_no_float, "oms.core.x", "match a:\n    case float(): raise InvalidRequest"),
        (names_say_what_things_are, "oms.x", "log.info('x')\nmanaged = database = tradeable = 1"),
        (reads_no_clock, "oms.x", "clock.now()\nself.clock.monotonic()"),
        (promises_are_said, "oms.x", "class _Row:\n    def cells(self): ..."),
        (promises_are_said, "oms.x", "def _f():\n    def g(): ..."),
        (
            promises_are_said,
            "oms.x",
            "class Reader(asyncio.Protocol):\n    def data_received(self, chunk): ...",
        ),
        (reads_no_clock, "oms.x", "time = clock or SystemClock()\ntime.monotonic()"),
    ],
)
def test_rule_lets_good_code_pass(rule: Rule, name: str, text: str) -> None:
    assert not list(rule(Module(name, ast.parse(text))))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_keeps_the_rule(rule: Rule) -> None:
    broken = [f"{module.name}: {fault}" for module in modules() for fault in rule(module)]
    assert not broken, "\n" + "\n".join(broken)


def test_modules_import_each_other_in_one_direction() -> None:
    names = {module.name for module in modules()}
    graph = {m.name: sorted(within(m, names)) for m in modules() if m.room is not None}
    assert cycle(graph) is None, " -> ".join(cycle(graph) or ())


@pytest.mark.parametrize(
    "text",
    [
        "from a.b import x",
        "import a.b",
        "from a import b",
        "if TYPE_CHECKING:\n    from a.b import X",
        "def f():\n    from a.b import x",
    ],
)
def test_import_counts_wherever_it_stands(text: str) -> None:
    assert within(Module("a.c", ast.parse(text)), {"a", "a.b", "a.c"}) == {"a.b"}


def test_every_inner_room_has_its_row() -> None:
    folders = {
        path.parent.relative_to(ROOT / "oms").as_posix().replace("/", ".")
        for top in ("core", "sim", "sim/broker")
        for path in (ROOT / "oms" / top).glob("*/__init__.py")
    }
    assert folders == INNER_ROOMS.keys()


def test_cycle_is_found() -> None:
    assert cycle({"a": ["b"], "b": ["c"], "c": ["a"]}) == ["a", "b", "c", "a"]
    assert cycle({"a": ["b", "c"], "b": ["c"], "c": []}) is None


def test_every_module_is_used_by_the_program() -> None:
    house = [module for module in modules() if module.room is not None]
    used = {name for module in house for _, name in imported(module.tree)}
    used |= {f"oms.cli.{listed.file}" for listed in VERBS.values()}
    # What the console scripts and `python -m` start, and what other programs import.
    doors = {"oms", "oms.cli", "oms.sim"} | {m.name for m in house if is_program(m.tree)}
    packages = {module.name.rpartition(".")[0] for module in house}
    unused = [
        module.name
        for module in house
        if module.name not in used | doors | packages
        and not all(is_docstring(node) for node in module.tree.body)
        and not any(name.startswith(f"{module.name}.") for name in used)
    ]
    assert unused == [], "imported by no module: " + ", ".join(unused)


def is_program(tree: ast.Module) -> bool:
    """Say whether `python -m` does something with a module."""
    tests = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    return "__name__ == '__main__'" in tests


def test_every_grace_is_still_needed() -> None:
    house = [module for module in modules() if module.room is not None]
    names = {name for module in house for _, name in defined(module.tree)}
    names |= {module.name.rsplit(".", 1)[-1] for module in house}
    assert [name for name in BANNED_WORDS_GRACE if name not in names] == []


# ── reading modules ──────────────────────────────────────────────────────────────────────────────


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the package and of the tests, parsed."""
    found = []
    for folder in ("oms", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, ast.parse(text, str(path.relative_to(ROOT)))))
    return tuple(found)


@cache
def walked(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a module: found once for all the rules, which took half the time."""
    return tuple(ast.walk(tree))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and full name of everything that is imported, wherever in the module."""
    for node in walked(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def without_types(tree: ast.Module) -> ast.Module:
    """Return a module without what it imports for annotations only."""
    return ast.Module(
        [
            node
            for node in tree.body
            if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ],
        [],
    )


def within(module: Module, names: set[str]) -> set[str]:
    """Return which of some modules a module names in an import: at its top, inside a function or
    for types only. A circle is a circle wherever its imports stand.
    """
    found = {
        name if name in names else name.rpartition(".")[0] for _, name in imported(module.tree)
    }
    return found & names - {module.name}


def cycle(graph: dict[str, list[str]]) -> list[str] | None:
    """Return one cycle of a graph, or None."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in graph.get(name, ()):
            found = visit(other, [*path, name])
            if found:
                return found
        done.add(name)
        return None

    return next((found for name in graph if (found := visit(name, []))), None)


def public_functions(
    tree: ast.AST, owner: ast.ClassDef | None = None
) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield what others can call by a public name, with the class that it belongs to."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                setter = any(ast.unparse(d).endswith(".setter") for d in node.decorator_list)
                if not node.name.startswith("_") and not setter:
                    yield owner, node
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield from public_functions(node, node)
            case ast.If() | ast.Try() | ast.With():
                yield from public_functions(node, owner)
            case _:
                pass


def overrides(owner: ast.ClassDef, method: str) -> bool:
    """Say whether a class has a method from one of its bases."""
    for base in owner.bases:
        name = ast.unparse(base).partition("[")[0]
        head, _, attribute = name.partition(".")
        if attribute:
            known = hasattr(getattr(sys.modules.get(head), attribute, None), method)
        else:
            known = any(
                method in methods or overrides(cls, method)
                for cls, methods in classes().get(name, ())
            )
        if known:
            return True
    return False


@cache
def classes() -> dict[str, list[tuple[ast.ClassDef, set[str]]]]:
    """Return the classes of the house by name, each with the methods that it defines."""
    found: dict[str, list[tuple[ast.ClassDef, set[str]]]] = {}
    for module in modules():
        for node in walked(module.tree):
            if isinstance(node, ast.ClassDef) and module.room is not None:
                methods = {
                    one.name
                    for one in node.body
                    if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                found.setdefault(node.name, []).append((node, methods))
    return found


def defined(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and name of everything that the module itself gives a name to."""
    for node in walked(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case _:
                pass


def words_of(name: str) -> set[str]:
    """Return the words of an identifier in lower case, each also without a plural's s."""
    words = {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)}
    return words | {word.removesuffix("s") for word in words}


def name_of_call(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
