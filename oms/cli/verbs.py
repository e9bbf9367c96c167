"""The verbs by name, and the program that loads the file of a verb when it is called.

`oms version` must not load a database driver, nor `oms --help` everything: so this table names each
verb with the file that has it and the words of the list, and nothing else is known of it until it
is called. Files of verbs import what they need at their top, like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from oms.cli.output import give_up_output, say
from oms.errors import InvalidRequest, OmsError

#: Options that belong to the program and are taken after the verb as well.
_GLOBAL_OPTIONS: Final = ("--database", "--config")
#: Characters of an argument that no table has to be asked about.
_PLAIN_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A verb, or a group of verbs, as the list of verbs names it."""

    #: The file in this folder that has it.
    file: str
    #: What it does, in one line.
    summary: str


#: In the order of the list.
VERBS: Final[Mapping[str, Listed]] = MappingProxyType(
    {
        "demo": Listed("demo", "Show a bad day, against the gateway simulator."),
        "orders": Listed("orders", "List orders at work, or all."),
        "order": Listed("orders", "Tell an order's whole story."),
        "fills": Listed("fills", "List fills."),
        "positions": Listed("positions", "List positions: ours, beside what IB last said."),
        "breaks": Listed("breaks", "List differences between our books and the broker's."),
        "alarms": Listed("alarms", "List what has lasted too long."),
        "requests": Listed("requests", "List what people asked for, and what became of it."),
        "why": Listed("why", "Say what led to an event, an order, a position or a break."),
        "log": Listed("log", "Show events of the log, or follow it."),
        "status": Listed("status", "Show how things stand, every number with its age."),
        "buy": Listed("buy", "Buy, at the market or at a price."),
        "sell": Listed("buy", "Sell, at the market or at a price."),
        "bracket": Listed("buy", "Send an entry with a take-profit and a stop-loss."),
        "modify": Listed("modify", "Change an order's prices, quantity or time in force."),
        "cancel": Listed("cancel", "Cancel orders."),
        "halt": Listed("halt", "Stop new orders; cancels always pass."),
        "resume": Listed("halt", "Allow new orders again."),
        "quote": Listed("quote", "Show the market of a contract."),
        "what-if": Listed("what_if", "Ask IB what an order would cost."),
        "account": Listed("account", "Show cash, margin and buying power of accounts."),
        "pnl": Listed("account", "Show what each holding has made."),
        "reconcile": Listed("reconcile", "Compare the books with the broker's now."),
        "assign": Listed("resolve", "Say who looks at a break."),
        "explain": Listed("resolve", "Say what a break is; it stays open."),
        "resolve": Listed("resolve", "Close a break, with a reason."),
        "adopt": Listed("resolve", "Accept an order that we did not send."),
        "adjust": Listed("resolve", "Book a change that no execution made."),
        "approve": Listed("resolve", "Approve what another person asked for."),
        "run": Listed("run", "Run the daemon."),
        "verify": Listed("verify", "Check the hash chain of the log."),
        "checkpoint": Listed("checkpoint", "Sign what the log has, for whoever checks it."),
        "prove": Listed("checkpoint", "Prove an order's events to an outsider."),
        "export": Listed("export", "Write events, orders and fills to files."),
        "pack": Listed("export", "Write an examination pack of a time."),
        "key": Listed("key", "Make, show and replace the key that signs."),
        "token": Listed("token", "Let other programs use the daemon."),
        "rebuild": Listed("rebuild", "Fold the whole log again, and compare the books."),
        "history": Listed("history", "Make and check what answers about the past."),
        "settings": Listed("settings", "List every setting, its value and its source."),
        "version": Listed("version", "Print versions, for a report of a fault."),
        "check": Listed("check", "Test settings, database, log, gateway and clock."),
        "web": Listed("web", "Serve the operator pages."),
        "doubt": Listed("doubt", "Orders in doubt: perhaps sent, outcome unknown."),
        "report": Listed("report", "Look at reconciliations of the past."),
        "statement": Listed("statement", "Compare the books with the broker's statement."),
        "db": Listed("db", "Make and upgrade the tables of the database."),
    }
)


@dataclass(frozen=True, slots=True)
class Given:
    """The options of the program as they were given, for every verb."""

    database: str | None = None
    config: Path | None = None


class Verbs(TyperGroup):
    """The program: verbs are loaded when they are called, global options stand anywhere, and an
    expected failure is a message, a hint and an exit status, never a traceback.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the verbs."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb, loaded now if it was not before; None for a name that is none."""
        if cmd_name not in self.commands and cmd_name in VERBS:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb that was typed; a name that is none is refused with those close to it."""
        close = get_close_matches(args[0], VERBS)
        if close and args[0] not in VERBS:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {', '.join(map(repr, close))}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs."""
        self._listing().format_commands(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the names that complete what was typed."""
        return self._listing().shell_complete(ctx, incomplete)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what no argument can be, and move the global options before the verb."""
        for argument in args:
            # The table is loaded only for what may be beyond it.
            if len(argument) > _PLAIN_MAX or not argument.isprintable():
                _check(ctx, argument)
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; an error of our tree ends it, and so does a value that a model refuses."""
        try:
            return super().invoke(ctx)
        except OmsError as error:
            fail(error)
        except ValueError as error:
            from oms.core.bounds import OutOfBounds, reason_of  # noqa: PLC0415  # see _check

            if not isinstance(error, OutOfBounds):
                raise
            fail(InvalidRequest(reason_of(error)))
        except BrokenPipeError:
            raise  # whoever read has gone
        except OSError as error:
            if error.filename is None:
                give_up_output()
            hint = "is this its right path, may this user use it, and has its disk room?"
            fail(
                OmsError(f"{error.filename or 'the output'}: {error.strerror or error}", hint=hint)
            )
        except RuntimeError as error:
            # So `Path.resolve` says it up to Python 3.12.
            if not str(error).startswith("Symlink loop"):
                raise
            fail(InvalidRequest(str(error)))

    def _listing(self) -> TyperGroup:
        """Return the group with stand-ins from the table, so that no verb is loaded to list it."""
        stand_ins = [TyperCommand(name, help=listed.summary) for name, listed in VERBS.items()]
        return TyperGroup(name=self.name, commands=stand_ins, params=self.params)


def _check(ctx: Any, argument: str) -> None:
    # Here, because the table loads pydantic, which `oms --help` does without.
    from oms.core.bounds import ASKED_TEXT  # noqa: PLC0415

    try:
        ASKED_TEXT.check(argument)
    except ValueError as error:
        ctx.fail(f"an argument {error}")


def _load(name: str) -> Any:
    """Import the file of a verb, and return the verb as typer made it."""
    module = import_module(f"oms.cli.{VERBS[name].file}")
    # Plain text, as the program's own help: frames of a terminal do not belong into a pipe.
    module.app.rich_markup_mode = None
    group = typer.main.get_group(module.app)
    return group if group.name == name else group.commands[name]


def hoisted(arguments: list[str]) -> list[str]:
    """Return the arguments with the global options in front, wherever they stood before `--`."""
    front: list[str] = []
    rest: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        if argument == "--":
            rest += [argument, *pending]
        elif argument in _GLOBAL_OPTIONS:
            front += [argument, *([value] if (value := next(pending, None)) is not None else [])]
        elif argument.startswith(tuple(f"{option}=" for option in _GLOBAL_OPTIONS)):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def fail(error: OmsError) -> NoReturn:
    """Say what is wrong and what to do next, and end with the error's exit status."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")
    raise typer.Exit(error.exit_code)
