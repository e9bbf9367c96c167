"""The verbs `checkpoint` and `prove`: signatures over the log, and proofs under them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json, say, write, write_json
from oms.cli.reading import asynchronous, reading
from oms.cli.request import append
from oms.cli.verify import refuse_forgery
from oms.clock import SystemClock
from oms.core.values import jsonable
from oms.core.words import counted
from oms.evidence.proof import prove_order
from oms.evidence.sealing import failures, seal
from oms.history.names import find_order
from oms.service.checkpoints import signing

app = typer.Typer()


@app.command()
@asynchronous
async def checkpoint(context: typer.Context, as_json: AsJson = False) -> None:
    """Sign what the log has beyond the last checkpoint, now.

    The running daemon does this by itself, after OMS_CHECKPOINT_EVENTS events and
    OMS_CHECKPOINT_SECONDS. The exit status is 4 where the log is not the one that was signed.

    \b
    oms checkpoint
    oms checkpoint --json
    """
    settings = settings_of(context)
    signer, places = signing(settings)
    signed = []
    async with reading(context) as reader:
        async for one in seal(reader, signer, places, SystemClock()):
            append(settings.database_url, [(one, None)], needs_daemon=False)
            signed.append(one)
    if as_json:
        kept = [jsonable(one) for one in signed]
        print_json("checkpoint", checkpoints=kept)
    elif signed:
        write(f"events {signed[0].first} to {signed[-1].last} are signed by {signer.name}")
    else:
        write("nothing is new since the last checkpoint")
    for words in failures(signed):
        say(words)
    if failures(signed):
        raise typer.Exit(1)


@app.command()
@asynchronous
async def prove(
    context: typer.Context,
    *,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Any name of it.")],
) -> None:
    """Write a proof of an order's events to stdout: they stand in the signed log, unchanged.

    Whoever has the public key checks it with the verifier alone. It shows no other order.

    \b
    oms prove 5f3a91c0 > proof.json
    oms prove 5f3a91c0 | gzip > proof.json.gz
    python -m oms.verify proof.json --key oms.key.pub
    """
    settings = settings_of(context)
    _, places = signing(settings)
    await asyncio.to_thread(refuse_forgery, settings)
    async with reading(context) as reader:
        named = await find_order(reader, order)
        proof, unsigned = await prove_order(reader, named.order_id, places.file.notes())
    write_json(proof)
    if unsigned:
        left = counted(len(unsigned), "event")
        say(f"{left} of the order came after the last checkpoint; `oms checkpoint` signs them")
