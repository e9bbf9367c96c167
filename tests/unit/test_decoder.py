"""The number of the translation stands for what it makes of each message."""

from __future__ import annotations

import hashlib

from oms.broker.translate import DECODER, translate
from oms.core import codec
from tests.unit.test_wire_names import RECEIVED, VALID

#: By the number of the translation: what it made of one message of every kind.
MADE = {1: "d812f3cf02c2776b7101391240ff746df3c27ad685d5cc395763d3d301aff730"}


def test_a_translation_that_makes_other_facts_has_another_number() -> None:
    """Where this fails, raise `DECODER` and write the new digest down beside its number: the log
    keeps the number with each fact, so that those of the old translation can be told.
    """
    lines = []
    for message in sorted(RECEIVED):
        for version in (157, 178):
            made = translate(RECEIVED[message].encode(version, VALID), version, None)
            if made is not None:
                name = type(made.event).__name__
                lines.append(f"{version} {name} {codec.encode(made.event)} {made.occurred_at}")
    assert len(lines) > 30
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == MADE[DECODER]
