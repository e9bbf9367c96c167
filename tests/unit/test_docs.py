"""What the code has, the documentation names; what the documentation names, exists."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest

from oms.core.admit.rules import RULES
from oms.core.events import EVENT_TYPES, BreakClass
from oms.core.fold.records import OrderState
from oms.core.members import members
from oms.settings import Settings
from tests import docs_pages
from tests.conftest import Stored

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
GOLDEN = Path(__file__).parent / "golden"
PROSE = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
TEXT_SUFFIXES = {"", ".py", ".md", ".toml", ".ini", ".j2", ".html", ".json", ".txt", ".mako"}


@pytest.mark.parametrize("page", docs_pages.PAGES)
def test_generated_page_is_what_the_code_makes(page: str, stored: Stored) -> None:
    stored(ROOT / page, docs_pages.PAGES[page]())


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_event_is_documented_field_by_field(name: str) -> None:
    text = section(read("events.md"), f"### {name}")
    for field in members(EVENT_TYPES[name]):
        assert f"| `{field}` |" in text


def test_every_setting_is_documented_and_used() -> None:
    page = read("settings.md")
    assert [name for name in Settings.model_fields if f"`{name}`" not in page] == []
    program = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "oms").rglob("*.py")
        if path.name != "settings.py"
    )
    unread = [name for name in Settings.model_fields if not re.search(rf"\b{name}\b", program)]
    assert unread == [], "a setting that nothing reads is a promise that nobody keeps"


def test_every_setting_that_a_rule_names_exists() -> None:
    named = {name for rule in RULES for name in rule.settings}
    assert named <= set(Settings.model_fields)
    limits = {f"order_{name}" for name in ("contracts", "sec_types", "duplicate_seconds")}
    assert limits | {"orders_per_minute_max", "open_orders_max", "order_collar_percent"} <= named


def test_every_error_has_a_row_with_its_exit_code() -> None:
    page = read("errors.md")
    for cls in docs_pages.error_types():
        assert re.search(rf"^\| `{cls.__name__}` \|.*\| {cls.exit_code} \|", page, re.MULTILINE)


def test_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"[├└]─ (\w+) +exit (\d)", read("errors.md"))
    assert {name: int(code) for name, code in drawn} == {
        cls.__name__: cls.exit_code
        for cls in docs_pages.error_types()
        if cls is not docs_pages.OmsError
    }


def test_every_exit_code_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d) \|", read("exit-codes.md"), re.M)}
    assert {cls.exit_code for cls in docs_pages.error_types()} <= documented
    assert documented == set(range(7))


def test_every_dependency_has_a_reason_and_no_other_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {required(text) for text in project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        wanted |= {required(text) for text in extra} - {project["name"]}
    named = set(re.findall(r"^\| `([\w.-]+)` \|", read("dependencies.md"), re.MULTILINE))
    assert named == wanted


def test_every_dependency_has_bounds_of_which_ci_tries_the_lower() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    ranges = [*project["dependencies"]]
    ranges += [*extras["timestamp"], *extras["postgres"], *extras["test"]]
    ranges.remove("ib-oms[timestamp]")
    lowest = (ROOT / ".ci" / "lowest.txt").read_text(encoding="utf-8").split()
    assert lowest == [re.sub(r"^([\w.-]+).*>=([\d.]+).*", r"\1==\2", text) for text in ranges]
    # The rules of time zones change by law, and their package follows the year.
    unbounded = [required(text) for text in ranges if not re.search(r",<\d+", text)]
    assert unbounded == ["tzdata"]


def test_every_dependency_has_the_licence_that_it_declares() -> None:
    page = read("dependencies.md")
    rows = dict(re.findall(r"^\| `([\w.-]+)` \|.*\| ([^|]+) \|$", page, re.MULTILINE))
    for name, licence in rows.items():
        try:
            declared = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        said = " ".join(
            [declared.get("License-Expression") or declared.get("License") or ""]
            + [text for text in declared.get_all("Classifier") or [] if "License" in text]
        ).replace("Apache Software License", "Apache-2.0")
        families = re.findall(r"Apache|BSD|LGPL|MIT|MPL", licence)
        assert families
        assert [family for family in families if family not in said] == [], (name, said)


def test_every_metric_is_set_by_the_program() -> None:
    constants = re.findall(
        r"^([A-Z_]+): Final = (?:Counter|Gauge|Histogram)\(",
        (ROOT / "oms" / "telemetry.py").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    program = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "oms").rglob("*.py")
        if path.name != "telemetry.py"
    )
    assert constants
    assert [name for name in constants if not re.search(rf"\b{name}\b", program)] == []


def test_log_actions_are_constant_machine_names() -> None:
    wrong = [c for c in docs_pages.log_calls() if not re.fullmatch(r"[a-z]+(_[a-z]+)+", c.action)]
    assert wrong == []


def test_every_decision_and_broker_note_that_the_code_names_is_written() -> None:
    internals = ROOT / "docs" / "internals"
    decisions = (internals / "architecture.md").read_text(encoding="utf-8")
    notes = (internals / "broker-notes.md").read_text(encoding="utf-8").lower()
    code = " ".join(
        " ".join(path.read_text(encoding="utf-8").split())
        for folder in ("oms", "tests")
        for path in (ROOT / folder).rglob("*.py")
    )
    named = set(re.findall(r"\(decision (D\d+(?:, D\d+)*)\)", code))
    numbers = {number for group in named for number in group.split(", ")}
    sections = set(re.findall(r"\(broker(?: #)? notes:(?: #)? ([a-z -]+)\)", code))
    assert "D3" in numbers
    assert "numbers" in sections
    assert [one for one in sorted(numbers) if f"| {one} |" not in decisions] == []
    assert [one for one in sorted(sections) if f"## {one}\n" not in notes] == []


def test_glossary_names_every_state_and_class_of_break() -> None:
    page = read("glossary.md")
    words = [state.value for state in OrderState] + list(get_args(BreakClass))
    assert [word for word in words if f"`{word}`" not in page] == []


@pytest.mark.parametrize("form", ["report_clean", "report_broken", "report_unknown", "story"])
def test_every_json_key_is_in_the_contract(form: str) -> None:
    page = read("json-output.md")
    value = json.loads((GOLDEN / f"{form}.json").read_text(encoding="utf-8"))
    assert [key for key in keys_of(value) if f"`{key}`" not in page] == []


def test_every_json_answer_of_the_command_line_is_in_the_contract() -> None:
    page = read("json-output.md")
    written = [ROOT / "oms" / "report" / f"{name}.py" for name in ("record_json", "situation_json")]
    files = [*(ROOT / "oms" / "cli").glob("*.py"), *written]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    kinds = {kind for tree in trees for kind in printed_kinds(tree)}
    keys = {key for tree in trees for key in written_keys(tree)}
    assert {"orders", "status"} <= kinds
    assert [kind for kind in sorted(kinds) if f'`"{kind}"`' not in page] == []
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_every_verb_is_documented_with_help_and_examples() -> None:
    page = read("cli.md")
    for path, verb in docs_pages.verbs(docs_pages.command_line(), "oms"):
        assert f"## {path}\n" in page
        assert verb.help, path
        assert verb.help.count(f"{path}") >= 2, f"{path}: two examples belong into its help"


def test_readme_has_commands_and_fits_two_screens() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    assert re.findall(r"^```(?:sh|console|bash)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", PROSE)
def test_links_of_a_page_resolve(page: str) -> None:
    path = ROOT / page
    broken = []
    for target in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(target)
    assert broken == []


def test_every_decision_follows_the_template() -> None:
    order = ["Context", "Options", "Decision", "Consequences", "What would change it"]
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in decisions]
    assert len(set(numbers)) == len(numbers)
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == [heading for heading in order if heading in headings], path.name
        assert {"Context", "Decision", "Consequences"} <= set(headings), path.name


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    # Put together here, so that this file does not name them either.
    folders = "|".join(("home", "root", "work", "Users"))
    registries = "|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.org"))
    forbidden = re.compile(
        rf"(?<![\w.~}}])/(?:{folders})/\w|[A-Z]:\\Users|{registries}|index[-_]url"
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:80]}"
        for path in texts()
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert found == []


def test_program_has_no_loose_ends() -> None:
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in texts()
        for line in path.read_text(encoding="utf-8").splitlines()
        if marks.search(line)
    ]
    assert found == []


# ── reading pages ────────────────────────────────────────────────────────────────────────────────


def read(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return a heading and what stands under it, up to the next one of its level or above."""
    level = heading.split(" ", maxsplit=1)[0]
    rest = text.split(f"{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def required(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found.group()


def links(text: str) -> Iterator[str]:
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def keys_of(value: Any) -> Iterator[str]:
    """Yield the keys of the contract; what the log itself holds is documented with the events."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in {"payload", "order", "ids"}:
                yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def printed_kinds(tree: ast.AST) -> Iterator[str]:
    """Yield the kinds of JSON objects that a module prints."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print_json"), args=[ast.Constant(value=str(kind))]):
                yield kind
            case _:
                pass


def written_keys(tree: ast.AST) -> Iterator[str]:
    """Yield the keys that a module's functions for JSON write."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print_json"), keywords=keywords):
                yield from (keyword.arg for keyword in keywords if keyword.arg)
            case ast.FunctionDef(name=name) if name.endswith("_json") or name == "_finding":
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Dict):
                        yield from (k.value for k in inner.keys if isinstance(k, ast.Constant))
            case _:
                pass


def texts() -> Iterator[Path]:
    """Yield every text file that people wrote or that tests compare with."""
    for top in ("oms", "tests", "docs", "migrations", ".ci"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts:
                yield path
    yield from (path for path in sorted(ROOT.iterdir()) if path.suffix in TEXT_SUFFIXES - {""})
