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
from oms.errors import ConfigurationError
from oms.evidence.checkpoints import refuse_other_key
from oms.evidence.keys import Signer, make_key, public_path
from oms.service.checkpoints import places_named, signing

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
    lost: Annotated[
        bool,
        typer.Option("--lost", help="The key before cannot sign any more, or others have it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new key, and let the key in use sign that it follows; that one then signs no more.

    Whoever trusts the old key trusts the new one from there on, and the old one no longer. Stop the
    daemon first; afterwards set OMS_SIGNING_KEY_FILE to the new file. With --lost the new key
    signs for itself: give its public half, too, to whoever checks. docs/operating/keys.md says what
    to do when a key was lost or stolen.

    \b
    oms key replace oms-2027.key
    oms key replace oms-2027.key --name ib-oms-live --lost
    """
    settings = settings_of(context)
    places = places_named(settings)
    notes = places.file.notes()
    signer = None
    if not lost:
        signer = signing(settings)[0]
        refuse_other_key(notes, signer, str(places.file.path))
    successor = make_key(file, name)
    note = (signer or successor).follow_with(successor.public, time_text(SystemClock().now()))
    try:
        places.file.append(note)
    except OSError as error:
        for made in (file, public_path(file)):
            made.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{places.file.path} cannot be written: {error.strerror}; no key was made",
            hint="check the file, its folder and the space on its disk",
        ) from error
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
