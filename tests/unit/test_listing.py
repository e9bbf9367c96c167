"""Tables as text: aligned, as wide as the screen at most, and drawn in a time that rows need."""

from __future__ import annotations

from oms.cli.listing import Listing


def drawn(listing: Listing, width: int = 80) -> list[str]:
    return list(listing.lines(width))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    made = Listing(("order", "filled", "note"), right=("filled",))
    made.add_row("a1", "10", "")
    made.add_row("b222222", "1,000", "held")
    assert drawn(made) == [
        "order    filled  note",
        "a1           10",
        "b222222   1,000  held",
    ]
    assert drawn(Listing(("order", "filled"))) == ["order  filled"]


def test_a_narrow_screen_folds_what_may_be_folded_and_cuts_the_widest_of_the_rest() -> None:
    made = Listing(("order", "what", "note"), wrap=("note",))
    made.add_row("a1", "BUY 10 AAPL", "the order was refused by the gateway")
    assert drawn(made, 40) == [
        "order  what         note",
        "a1     BUY 10 AAPL  the order was",
        "                    refused by the",
        "                    gateway",
    ]
    assert drawn(made, 32) == [
        "order  what      note",
        "a1     BUY 10 …  the order was",
        "                 refused by the",
        "                 gateway",
    ]


def test_wide_characters_lines_of_a_cell_and_controls_keep_the_columns() -> None:
    made = Listing(("who", "note"), right=("who",), wrap=("note",))
    made.add_row("東京", "one\ntwo")
    made.add_row("ann", "\x1b[2J red")

    assert drawn(made) == [" who  note", "東京  one", "      two", " ann  \\u001b[2J red"]
    folded = Listing(("note",), wrap=("note",))
    folded.add_row("東京証券 取引所の注文は拒否されました")
    assert all(len(line) <= 9 for line in drawn(folded, 18))
