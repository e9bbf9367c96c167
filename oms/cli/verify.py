"""The verb `verify`: does the hash chain hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, say, write
from oms.cli.terminal import progress
from oms.core.bounds import SEQUENCE
from oms.core.words import counted
from oms.errors import (
    ChainBroken,
    DatabaseDamaged,
    InvalidRequest,
    MigrationNeeded,
    StoreUnavailable,
)
from oms.evidence.checkpoints import refuse_other_key
from oms.evidence.keys import Signer
from oms.service.checkpoints import refuse_loss, signing
from oms.settings import Settings
from oms.store.answer_digests import check_answers
from oms.store.audit import VerifyResult
from oms.store.audit import verify as check
from oms.store.loss import refuse_contradiction
from oms.store.soundness import check_database
from oms.verify import Note, UncheckableError, read_expected

app = typer.Typer()

#: More of them wait for one disk.
PROCESSES_MAX: Final = 4


@app.command()
def verify(
    context: typer.Context,
    *,
    from_sequence: Annotated[
        int,
        typer.Option(
            "--from", min=1, max=SEQUENCE.high, metavar="SEQ", help="Begin at this event."
        ),
    ] = 1,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQ:HASH", help="A head that you noted; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the hash chain, and that tables, triggers, indexes and rows are what was written.

    Each answer of the broker is held against the digest over its rows too. Prints how many events
    hold and the head's hash. Keep that hash elsewhere, or have checkpoints signed (`oms key new`):
    a person who can rewrite the whole file can rewrite the whole chain. Our own signed checkpoints
    are checked as well. With --from, the hash of the event before SEQ is trusted. The exit status
    is 4 where anything does not hold, and the first such thing is named. Of a log that `oms db
    restore` put into a place that knew nothing, all holds, status 0, and a warning says that nobody
    knows whether there was more. `oms rebuild --check` folds the log again and compares the rows.

    \b
    oms verify
    oms verify --from 1000000 --json
    oms verify --expect 120:5c1f0ab2...
    """
    settings = settings_of(context)
    url = settings.database_url
    try:
        noted = _noted(expect or ())
        signed = signed_heads(settings)
        with progress("verifying") as moved:
            held = {**signed, **noted}
            try:
                result = check(
                    url, moved, from_sequence=from_sequence, expected=held, processes=_processes()
                )
            except (MigrationNeeded, StoreUnavailable):
                # Where one was signed, a file that is missing or has no tables is a log that went.
                refuse_loss(settings)
                raise
            check_answers(url, moved, first=from_sequence)
            check_database(url)
    except (ChainBroken, DatabaseDamaged) as error:
        if as_json:
            sequence = error.sequence if isinstance(error, ChainBroken) else None
            print_json("verify", ok=False, sequence=sequence, text=error.message)
        raise
    _say(result, signed, as_json=as_json)


def _say(result: VerifyResult, signed: Mapping[int, str], *, as_json: bool) -> None:
    if as_json:
        print_json(
            "verify",
            ok=True,
            events=result.events,
            sequence=result.head_sequence,
            hash=result.head_hash,
            seconds=round(result.seconds, 3),
            signed_to=max(signed, default=None),
            unknown=result.unknown,
        )
        return
    hold = "holds" if result.events == 1 else "hold"
    write(f"ok  {counted(result.events, 'event')} {hold}, in {result.seconds:.2f} s")
    write(f"head {result.head_sequence} {result.head_hash}")
    if signed:
        checkpoints = counted(len(signed), "signed checkpoint")
        write(f"signed  {checkpoints}, to event {max(signed)}")
    if result.unknown:
        say(f"warning: {result.unknown}")
        say("hint: what was in the backup holds; `oms run` starts when a person accepts the rest")
        say("      with --accept-loss --reason TEXT, after a look at TWS: docs/operating/backup.md")


def _processes() -> int:
    return min(PROCESSES_MAX, os.cpu_count() or 1)


def _noted(texts: Iterable[str]) -> dict[int, str]:
    try:
        return dict(map(read_expected, texts))
    except UncheckableError as error:
        raise InvalidRequest(str(error), hint="as `oms verify` prints it: head SEQ HASH") from None


def signed_heads(settings: Settings) -> dict[int, str]:
    """Return the hashes that our signed checkpoints name, by sequence; none without a key."""
    if settings.signing_key_file is None:
        return {}
    signer, places = signing(settings)
    refuse_other_key(places.file.notes(), signer, str(places.file.path))
    return {one.last: one.head.hex() for one in places.file.checkpoints(signer)}


def signed_with(settings: Settings) -> tuple[Signer | None, list[Note]]:
    """Return the key that signs, and what was signed so far; None where the settings name none."""
    if settings.signing_key_file is None:
        return None, []
    signer, places = signing(settings)
    return signer, places.file.notes()


def refuse_forgery(settings: Settings) -> None:
    """Raise `LogWentBack` or `ChainBroken` where the log is not the one that was signed, or that
    its head file knows of: nothing may be written or signed as what it says.
    """
    try:
        signed = signed_heads(settings)
        refuse_loss(settings)
        refuse_contradiction(settings.database_url, signed)
    except ChainBroken as error:
        error.hint = (
            "nothing was written: `oms verify` says what does not hold; put the log back that was"
            " signed, docs/operating/chain-broken.md"
        )
        raise
