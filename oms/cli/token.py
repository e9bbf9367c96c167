"""The verbs of `token`: what lets other programs use the daemon."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from oms.api.rights import GRANTS, Gatekeeper, digest_of, new_token
from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, say, write
from oms.cli.reading import asynchronous, reading
from oms.cli.request import person
from oms.cli.terminal import show, table
from oms.clock import SystemClock
from oms.core.asked import check_actor
from oms.core.events import AccessGranted, AccessRevoked, Context, Pending
from oms.errors import InvalidRequest, NotFound
from oms.store.log import append_foreign
from oms.store.reader import Reader

app = typer.Typer(
    name="token",
    no_args_is_help=True,
    help="Give other programs the right to use the daemon, list and revoke it.",
)

_RIGHTS: Final = ("read", "trade", "operate")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Who it is: strategy:NAME, person:NAME.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; the log keeps it.")]


@app.command()
def new(
    context: typer.Context,
    *,
    name: Name,
    right: Annotated[str, typer.Option(metavar="RIGHT", help="read, trade or operate.")] = "read",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make a token for a program, and show it once: the log keeps its hash alone.

    With `read` a program may look; with `trade` also send orders, and change and cancel its own;
    with `operate` it may all that a person may: every order, halt, resume. What it does has NAME as
    actor. A token that NAME had before is worth nothing any more.

    \b
    oms token new strategy:alpha --right trade
    oms token new dashboard --reason "screen in the office"
    """
    check_actor("NAME", name)
    if right not in _RIGHTS:
        raise InvalidRequest(f"RIGHT is {', '.join(_RIGHTS)}, found {right[:48]!r}")
    token = new_token()
    granted = AccessGranted(
        name=name,
        right=right,  # type: ignore[arg-type]  # one of them
        digest=digest_of(token),
        reason=reason,
    )
    _append(context, granted)
    if as_json:
        print_json("token", name=name, right=right, token=token)
        return
    write(token)
    say(f"{name} may {right}; keep the token now, it is shown this once")


@app.command("list")
@asynchronous
async def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the programs that have a token.

    \b
    oms token list
    oms token list --json
    """
    async with reading(context) as reader:
        grants = await _grants(reader)
    if as_json:
        rows = [{"name": one.name, "right": one.right, "reason": one.reason} for one in grants]
        print_json("tokens", tokens=rows)
        return
    made = table("name", "right", "reason")
    for one in grants:
        made.add_row(one.name, one.right, one.reason)
    show(made)


@app.command()
@asynchronous
async def revoke(
    context: typer.Context, *, name: Name, reason: Reason = "", as_json: AsJson = False
) -> None:
    """Take a program's token away, at once: what it asks is refused, and its streams end.

    Its orders stay as they are; `oms orders --actor NAME` lists them.

    \b
    oms token revoke strategy:alpha
    oms token revoke dashboard --reason "the screen was sold" --json
    """
    async with reading(context) as reader:
        known = [one.name for one in await _grants(reader)]
    if name not in known:
        raise NotFound(
            f"{name[:48]!r} has no token", hint=f"there are: {', '.join(known) or 'none'}"
        )
    _append(context, AccessRevoked(name=name, reason=reason))
    if as_json:
        print_json("token", name=name, right=None, token=None)
        return
    say(f"the token of {name} is worth nothing any more")


def _append(context: typer.Context, event: AccessGranted | AccessRevoked) -> None:
    said = Pending(event, Context(actor=person(), correlation_id=GRANTS))
    url = settings_of(context).database_url
    append_foreign(url, [said], clock=SystemClock(), needs_daemon=False)


async def _grants(reader: Reader) -> list[AccessGranted]:
    gate = Gatekeeper(secret="", owner="", per_minute=None)  # nobody asks it
    gate.note(await reader.envelopes(await reader.sequences_correlated(GRANTS)))
    return gate.grants
