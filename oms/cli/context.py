"""The options of the whole program, and the settings that they lead to."""

from __future__ import annotations

import os

import typer

from oms import settings, telemetry
from oms.cli.verbs import Given
from oms.settings import Settings


def settings_of(context: typer.Context) -> Settings:
    """Return the settings; `--database` and `--config` outrank every other source."""
    given: Given = context.obj
    environment = dict(os.environ)
    if given.config is not None:
        environment[settings.CONFIG_VARIABLE] = str(given.config)
    loaded = settings.load(environment=environment, database_url=given.database)
    # A verb answers a person: what the store has to report while it does is of no interest.
    telemetry.configure("ERROR", loaded.log_format)
    return loaded
