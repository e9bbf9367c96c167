"""What the folds keep: one frozen record per order, fill, position, session, break and run.

A record is a row of a projection: `key` names it, `columns()` gives the few values that readers
search by, and the body is the whole record as canonical text, so that start-up reads back exactly
what the fold had. Nothing here decides anything.
"""

from __future__ import annotations

from oms.core.fold.records.cases import *
from oms.core.fold.records.holdings import *
from oms.core.fold.records.orders import *
from oms.core.fold.records.row import *
from oms.core.fold.records.system import *
from oms.core.fold.records.tables import *
