"""The verbs of `key`: the key that signs checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, say, write
from oms.clock import SystemClock
from oms.core.codec import time_text
from oms.evidence.keys import Signer, make_key, public_path
from oms.service.checkpoints import signing

app = typer.Typer(
    name="key", no_args_is_help=True, help="Make, show and replace the key that signs checkpoints."
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="Where the key is written.")]
Name = Annotated[str, typer.Option(metavar="NAME", help="Stands in each signature.")]


@app.command()
def new(
    *,
    file: File = Path("oms.key"),
    name: Name = "ib-oms",
    as_json: AsJson = False,
) -> None:
    """Make a key; only its owner can read it.

    The public half is written beside it, as FILE.pub: give that to whoever checks your log. Set
    OMS_SIGNING_KEY_FILE to FILE; the daemon then signs checkpoints.

    \b
    oms key new
    oms key new /secure/oms.key --name ib-oms-live
    """
    _say(make_key(file, name), file, as_json=as_json)
    if not as_json:
        say(f"keep a copy of {file} in a safe place, and set OMS_SIGNING_KEY_FILE={file}")


@app.command()
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the public half of the key in use.

    \b
    oms key show
    oms key show > auditor.pub
    """
    signer, _ = signing(settings_of(context))
    if as_json:
        print_json("key", name=signer.name, public=str(signer.public))
    else:
        write(str(signer.public))


@app.command()
def replace(
    context: typer.Context,
    *,
    file: File,
    name: Name = "ib-oms",
    as_json: AsJson = False,
) -> None:
    """Make a new key, and let the key in use sign that it follows.

    Whoever trusts the old key then trusts the new one. Stop the daemon first; afterwards set
    OMS_SIGNING_KEY_FILE to the new file. A key that was lost cannot sign: make a new one with
    `oms key new`, and give both public halves to whoever checks.

    \b
    oms key replace oms-2027.key
    oms key replace oms-2027.key --name ib-oms-live
    """
    signer, places = signing(settings_of(context))
    successor = make_key(file, name)
    places.file.append(signer.follow_with(successor.public, time_text(SystemClock().now())))
    _say(successor, file, as_json=as_json)
    if not as_json:
        say(f"set OMS_SIGNING_KEY_FILE={file}, and start the daemon again")


def _say(signer: Signer, file: Path, *, as_json: bool) -> None:
    public = public_path(file)
    if as_json:
        print_json(
            "key", name=signer.name, public=str(signer.public), file=str(file), pub=str(public)
        )
        return
    write(f"key         {file}")
    write(f"public half {public}")
    write(str(signer.public))
