"""The verbs `export` and `pack`: files for other programs, accountants and examiners."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from oms.cli.asking import FILTERS, Question, asked
from oms.cli.context import settings_of
from oms.cli.options import AsJson, Options, with_options
from oms.cli.output import print_json, say, write
from oms.cli.past import AsOf, WhichOf, make_snapshots, shelf
from oms.cli.reading import perform, reading
from oms.cli.terminal import progress
from oms.cli.verify import refuse_forgery, signed_with
from oms.core.words import counted
from oms.errors import InvalidRequest
from oms.history import mask as masks
from oms.history.columns import Subject
from oms.history.export import Exported, Request
from oms.history.export import export as run_export
from oms.history.formats import Form
from oms.history.pack import pack as run_pack
from oms.settings import Settings

app = typer.Typer()

UNSIGNED: Final = "the manifest is not signed: no signing key is set (`oms key new`)"


Masked = Annotated[
    bool, typer.Option("--mask", help="Write pseudonyms for accounts and names; needs --key.")
]
MaskKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Of --mask: the same key, the same pseudonyms."),
]
#: An export has all rows that meet the conditions.
CONDITIONS: Final[Options] = {name: one for name, one in FILTERS.items() if name != "limit"}
TIMES: Final[Options] = {name: FILTERS[name] for name in ("since", "until", "during", "zone")}


@app.command(cls=Question)
@with_options(CONDITIONS)
def export(
    context: typer.Context,
    *,
    subject: Annotated[
        Subject, typer.Argument(metavar="WHAT", help="events, orders, fills, positions or cases.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that does not exist yet.")],
    type_name: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only events of this type."),
    ] = None,
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="csv-semicolon writes 1,5 for 1.5; Parquet needs the extra ib-oms[parquet].",
        ),
    ] = "jsonl",
    masked: Masked = False,
    key: MaskKey = None,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
    **conditions: Any,
) -> None:
    """Write WHAT to files in the new folder OUT, with a manifest.

    OUT is there when all of it is durable, or not at all. Where it was interrupted, the same
    command goes on. Numbers are exact and times are UTC; docs/reference/export.md describes each
    column, how a mask works, and how to read the files. `python -m oms.verify OUT` checks them;
    the manifest is signed where OMS_SIGNING_KEY_FILE is set.

    \b
    oms export fills q2 --since 2026-04 --until 2026-07 --format csv
    oms export fills jahr --since 2026-01 --until 2027-01 --format csv-semicolon --zone Berlin
    oms export events june --during 2026-06 --format parquet --mask --key m.key
    """
    query = asked(context, {**conditions, "type": type_name}).evolve(reverse=False)
    request = Request(subject, form, query, _mask_key(key, masked=masked))
    settings = settings_of(context)
    (signer, notes), room = signed_with(settings), room_of(settings, out)

    async def work() -> None:
        await asyncio.to_thread(refuse_forgery, settings)
        async with shelf(context, as_of, by, conditions["zone"]) as place:
            with progress("exporting") as moved:
                made = await run_export(
                    place.reader,
                    request,
                    out,
                    signer=signer,
                    moved=moved,
                    room=room,
                    past=place.past,
                    notes=notes,
                )
        _say_exported(made, out, is_signed=signer is not None, as_json=as_json)

    try:
        perform(work())
    except KeyboardInterrupt:
        say(f"interrupted: the same command goes on; else remove {out}.part and {out}.part.json")
        raise


def _mask_key(key: Path | None, *, masked: bool) -> bytes:
    if masked and key is None:
        raise InvalidRequest(
            "--mask needs --key FILE", hint="(umask 077; head -c 32 /dev/urandom > mask.key)"
        )
    if key is not None and not masked:
        raise InvalidRequest("--key is the key of --mask", hint="add --mask, or leave --key out")
    return masks.read_key(key) if key is not None else b""


def _say_exported(made: Exported, out: Path, *, is_signed: bool, as_json: bool) -> None:
    names = [one.name for one in made.files]
    if as_json:
        print_json(
            "export",
            out=str(out),
            rows=made.rows,
            resumed=made.resumed,
            as_of_sequence=made.last,
            files=names,
            signed=is_signed,
        )
        return
    write(f"{out}: {counted(made.rows, 'row')} in {', '.join(names)}")
    if made.resumed:
        say(f"{made.resumed:,} of them were there from a run that was interrupted")
    if not is_signed:
        say(UNSIGNED)


def room_of(settings: Settings, out: Path) -> int:
    """Return how much of the disk must stay free: what the log needs, where it is on the same."""
    if not out.name:  # "", "." or "/"
        raise InvalidRequest(f"{str(out)!r} cannot be the name of what is written")
    scheme, _, path = settings.database_url.partition(":///")
    try:
        beside = scheme == "sqlite" and Path(path).stat().st_dev == out.parent.stat().st_dev
    except OSError:
        return 0  # what is missing is said where it is opened
    return settings.disk_free_megabytes_min * 1_000_000 if beside else 0


@app.command(cls=Question)
@with_options(TIMES)
def pack(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="A file that does not exist yet.")],
    masked: Masked = False,
    key: MaskKey = None,
    as_json: AsJson = False,
    **times: Any,
) -> None:
    """Write an examination pack: all that happened in a time, in one archive that checks itself.

    It has every event with its hash, orders event by event, fills, cases, reconciliations, checks
    of statements, clocks, versions and settings, signed checkpoints, and a dictionary; README.txt
    in it says what is where. The same log and time give the same bytes. Who has verify.py and the
    public key checks it without this program: docs/operating/examination.md. With --mask it shows
    neither accounts nor names, and so has no hashes and no checkpoints: its files and the signature
    under them can be checked, and that they are of this log only by who has the log and the key.

    \b
    oms pack q2.zip --since 2026-04-01 --until 2026-07-01
    oms pack june.zip --during 2026-06 --mask --key m.key --json
    """
    mask_key = _mask_key(key, masked=masked)
    settings = settings_of(context)
    query = asked(context, times).evolve(reverse=False)
    (signer, notes), room = signed_with(settings), room_of(settings, out)

    async def work() -> None:
        await asyncio.to_thread(refuse_forgery, settings)
        async with reading(context) as reader:
            with progress("packing") as moved:
                made = await run_pack(
                    reader,
                    query,
                    out,
                    signer=signer,
                    notes=notes,
                    moved=moved,
                    room=room,
                    when_far=partial(make_snapshots, settings.database_url),
                    mask_key=mask_key,
                )
        if as_json:
            print_json(
                "pack",
                out=str(out),
                first=made.first,
                last=made.last,
                files=made.files,
                checkpoints=made.checkpoints,
                signed=signer is not None,
                masked=masked,
            )
            return
        write(f"{out}: events {made.first} to {made.last}, {counted(made.files, 'file')}")
        if signer is None:
            say(UNSIGNED)

    perform(work())
