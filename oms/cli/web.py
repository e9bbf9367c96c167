"""The verb `web`: the operator pages in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from oms import telemetry
from oms.access import is_loopback
from oms.cli.context import settings_of
from oms.cli.output import say
from oms.clock import SystemClock
from oms.errors import OmsError
from oms.store import schema
from oms.web.server import serve

app = typer.Typer()


@app.command()
def web(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to serve on; other machines cannot reach the default."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port; 0 takes a free one.")
    ] = 8010,
) -> None:
    """Serve the operator pages: read-only, from the log.

    \b
    /          is all well, else why and what to do; every number with its age
    /orders    and /orders/ID, one order's whole story; /fills /positions /breaks /reports /log
    /health    for a probe: ok, degraded or down with reasons; 503 when down
    /metrics   for Prometheus, from the database
    .json      after any address gives the same as JSON

    On an address that other machines reach it takes OMS_WEB_PASSWORD to start and to read.

    \b
    oms web
    oms web --database oms.sqlite --port 8020
    """
    settings = settings_of(context)
    telemetry.configure(settings.log_level, settings.log_format)
    try:
        schema.check_current(settings.database_url)
    except OmsError as error:
        # The pages say so too, and show the log once it can be read.
        say(f"warning: {error.message}; {error.hint}")
    if not is_loopback(host):
        say("warning: the password travels in clear text; put a proxy with TLS in front")
    serve(
        settings,
        host=host,
        port=port,
        now=SystemClock().now,
        ready=lambda address: say(f"operator pages at {address} (read-only; Ctrl-C ends them)"),
    )
