"""Every event of an order has a reason that is older, back to the order's first event.

Goal: whatever happens to an order, and in whatever order the messages come, no event about it
hangs in the air or on itself, so that the walk of `oms why` reaches every one and ends.
Method: random lives of orders; the fold says which events are an order's, and the reasons are
walked back from each.
"""

from __future__ import annotations

from hypothesis import given

from oms.core.causes import attributions, role_of, stated
from oms.core.events import DaemonStarted, Envelope, GlobalCancelIntended
from tests import strategies
from tests.lives import Life

_OF_ALL = (DaemonStarted, GlobalCancelIntended)


@given(strategies.lives(40))
def test_every_event_about_an_order_leads_back_to_a_first_one(rows: list[str]) -> None:
    life = Life()
    for row in rows:
        life.play(row)
    by_sequence = {one.sequence: one for one in life.envelopes}
    stories: dict[str, list[Envelope]] = {}
    for order_id, sequence in sorted(set(life.books.links()), key=lambda link: link[1]):
        stories.setdefault(order_id, []).append(by_sequence[sequence])
    assert stories
    for story in stories.values():
        links = attributions(story)
        # What touches all orders, such as a start of the program, is there because of none.
        own_firsts = {one.sequence for one in story[1:] if isinstance(one.event, _OF_ALL)}
        assert set(links) == {one.sequence for one in story[1:]} - own_firsts
        for own in story:
            sequence = own.sequence
            while sequence in links:
                assert links[sequence].sequence < sequence
                sequence = links[sequence].sequence
            assert sequence in {story[0].sequence, *own_firsts}


@given(strategies.lives(40))
def test_what_an_event_names_is_older(rows: list[str]) -> None:
    life = Life()
    for row in rows:
        life.play(row)
    for one in life.envelopes:
        assert all(0 < link.sequence < one.sequence for link in stated(one))
        assert role_of(one)
