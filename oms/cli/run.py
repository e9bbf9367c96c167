"""Verbs of whoever keeps it running: run, verify, rebuild, db, settings and version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oms.cli.frame import (
    AsJson,
    perform,
    print_json,
    progress,
    say,
    settings_of,
    show,
    table,
)

if TYPE_CHECKING:
    from oms.store.rebuild import RebuildResult


def register(app: typer.Typer) -> None:
    """Add the verbs of this file."""
    for verb in (run, verify, rebuild, settings, version):
        app.command()(verb)
    database = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="The database's tables."
    )
    database.command("upgrade")(upgrade)
    database.command("current")(current)
    app.add_typer(database, name="db")


def run(context: typer.Context) -> None:
    """Run the daemon in the foreground, until SIGINT (Ctrl-C) or SIGTERM.

    It connects to the gateway of the settings (default: a paper gateway on 127.0.0.1:4002),
    reconnects for ever, compares the books after every connect, and carries out what the other
    verbs ask for. An empty or older database is brought up to date first, after a backup copy.
    Program messages go to stderr; nothing goes to stdout.

    \b
    oms run
    OMS_PORT=7497 oms run --database paper.sqlite
    """
    from oms import telemetry
    from oms.errors import ConfigurationError
    from oms.store.upgrade import upgrade_database

    if not __debug__:
        raise ConfigurationError(
            "the daemon does not run without its checks", hint="start Python without -O"
        )
    chosen = settings_of(context)
    telemetry.configure(chosen.log_level, chosen.log_format)
    with progress("rebuilding") as report:
        done = upgrade_database(chosen.database_url, report)
    if done.before is None:
        say(f"made the tables of an empty database, revision {done.after}")
    elif done.before != done.after:
        say(f"upgraded the database from {done.before} to {done.after}, copy in {done.backup}")

    from oms.service.daemon import run_daemon

    raise typer.Exit(perform(run_daemon(chosen)))


def verify(
    context: typer.Context,
    *,
    from_sequence: Annotated[
        int, typer.Option("--from", min=1, metavar="SEQ", help="Begin at this event.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Check the hash chain: no event was changed, removed, inserted or cut off.

    Prints how many events hold and the head's hash; write that hash down elsewhere, because who
    can rewrite the whole file can rewrite the whole chain. With --from the event before it is taken
    at its word. The exit status is 4, and the sequence is named, where the chain does not hold.

    \b
    oms verify
    oms verify --from 1000000 --json
    """
    from oms.errors import ChainBroken
    from oms.store.audit import verify as check

    url = settings_of(context).database_url
    try:
        with progress("verifying") as moved:
            result = check(url, moved, from_sequence=from_sequence)
    except ChainBroken as error:
        if as_json:
            print_json("verify", ok=False, sequence=error.sequence, text=error.message)
        raise
    if as_json:
        print_json(
            "verify",
            ok=True,
            events=result.events,
            sequence=result.head_sequence,
            hash=result.head_hash,
            seconds=round(result.seconds, 3),
        )
        return
    typer.echo(f"ok  {result.events:,} events hold, in {result.seconds:.2f} s")
    typer.echo(f"head {result.head_sequence} {result.head_hash}")


def rebuild(
    context: typer.Context,
    *,
    only_check: Annotated[
        bool, typer.Option("--check", help="Compare only; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fold the whole log from its first event, and compare with the stored books row for row.

    Without --check, rows that differ are swapped in one transaction, also beside a running daemon:
    readers see the old rows or the new ones, and the daemon loads its books again. Where more rows
    differ than its next append can wait for, it must be stopped first. The exit status of --check
    is 4 where a row differs.

    \b
    events   how many were folded
    rows     how many were compared, by table

    \b
    oms rebuild --check
    oms rebuild --json
    """
    from oms.store import rebuild as rebuilding

    url = settings_of(context).database_url
    with progress("folding") as moved:
        work = rebuilding.rebuild_check if only_check else rebuilding.rebuild
        result = work(url, moved)
    if as_json:
        print_json("rebuild", **_rebuild_json(result, only_check))
    else:
        _print_rebuild(result, only_check)
    if only_check and not result.equal:
        raise typer.Exit(4)


def _print_rebuild(result: RebuildResult, only_check: bool) -> None:
    rows = sum(result.tables.values())
    folded = f"{result.events:,} events folded, {rows:,} rows compared, in {result.seconds:.2f} s"
    if result.equal:
        typer.echo(f"ok  {folded}: all equal")
    else:
        done = "differ" if only_check else "differed and were replaced"
        typer.echo(f"FAILED  {folded}: {result.differences:,} {done}")
        first = result.first_difference
        if first is not None:
            fields = ", ".join(first.fields) or (
                "the stored row is missing" if first.ours is None else "the log has no such row"
            )
            typer.echo(f"first: {first.table} {first.key} ({fields})")
    typer.echo(", ".join(f"{name} {count:,}" for name, count in result.tables.items() if count))


def _rebuild_json(result: RebuildResult, only_check: bool) -> dict[str, object]:
    first = result.first_difference
    return {
        "ok": result.equal,
        "replaced": not only_check and not result.equal,
        "events": result.events,
        "rows": result.tables,
        "differences": result.differences,
        "first_difference": None
        if first is None
        else {
            "table": first.table,
            "key": first.key,
            "fields": list(first.fields),
            "ours": first.ours,
            "rebuilt": first.rebuilt,
        },
        "seconds": round(result.seconds, 3),
    }


def upgrade(
    context: typer.Context,
    *,
    backup: Annotated[
        bool, typer.Option(help="Copy a SQLite database beside itself before it is changed.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the tables of this version; creates a SQLite file that is not there.

    Rows that an earlier version left are folded from the log anew.

    \b
    oms db upgrade
    oms db upgrade --database paper.sqlite
    """
    from oms.store.upgrade import upgrade_database

    with progress("rebuilding") as report:
        done = upgrade_database(settings_of(context).database_url, report, backup=backup)
    if as_json:
        copy = None if done.backup is None else str(done.backup)
        print_json("db_upgrade", before=done.before, after=done.after, backup=copy)
    elif done.before == done.after:
        typer.echo(f"already at revision {done.after}")
    else:
        copied = f", copy in {done.backup}" if done.backup is not None else ""
        typer.echo(f"revision {done.before or 'none'} -> {done.after}{copied}")


def current(context: typer.Context, as_json: AsJson = False) -> None:
    """Say which revision the database's tables have, and which one this version needs.

    \b
    oms db current
    oms db current --json
    """
    from oms.store import schema

    found = schema.current(settings_of(context).database_url)
    if as_json:
        print_json("db_current", revision=found, needed=schema.HEAD)
    else:
        typer.echo(f"{found or 'none'} (needed: {schema.HEAD})")


def settings(context: typer.Context, as_json: AsJson = False) -> None:
    """List every setting with its value and where that came from.

    \b
    variable      in the environment or in .env; in oms.toml it is the name without OMS_, lower case
    value         what is in force; source: default, or the variable or file that said it
    bounds, unit  what is allowed, and what the number counts

    \b
    oms settings
    OMS_PORT=7497 oms settings --json
    """
    from dataclasses import asdict

    rows = settings_of(context).describe()
    if as_json:
        print_json("settings", settings=[asdict(row) for row in rows])
        return
    made = table(
        *("variable", "value", "source", "unit", "bounds", "what it is"),
        wrap=("value", "source", "unit", "bounds", "what it is"),
    )
    for row in rows:
        made.add_row(row.env, row.value, row.source, row.unit, row.bounds, row.description)
    show(made)


def version(as_json: AsJson = False) -> None:
    """Print the versions that matter when something is reported.

    \b
    oms version
    oms version --json
    """
    import platform
    from importlib.metadata import version as installed

    from oms._version import __version__

    libraries = {name: installed(name) for name in ("ib_async", "SQLAlchemy", "pydantic")}
    if as_json:
        python = platform.python_version()
        print_json("version", version=__version__, python=python, libraries=libraries)
        return
    others = ", ".join(f"{name} {number}" for name, number in libraries.items())
    typer.echo(f"ib-oms {__version__} (Python {platform.python_version()}, {others})")
