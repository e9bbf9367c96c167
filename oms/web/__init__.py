"""The operator pages: what the log and its folds say now, for a person at a screen and for probes.

Read-only by construction: the database is opened read-only, only GET and HEAD are answered, and no
page holds a button that does anything. They say what is known, how old it is, and what is not
known; a database that cannot be read is an answer (503 with the reason), never an empty table.

There is no password: they bind to this machine, and to reach them from elsewhere they belong behind
something that has one (docs/how-to/operator-pages.md).
"""

from __future__ import annotations

from oms.web.app import create_app
from oms.web.server import serve

__all__ = ["create_app", "serve"]
