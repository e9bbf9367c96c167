"""What each kind of number, text and time can be: the one table that every door looks into.

The models of requests and events are built from it, so what a model takes, the log, both databases
and every fold can hold: no integer is longer than a column, no number so long or so small that
writing it out fills the memory, no text has a NUL (PostgreSQL takes none) or is longer than an
entry of an index may be. What a *person* may ask for is narrower and is told in the same rows:
there a larger number is a slip of the hand.

A value that is out of bounds is refused where it enters: `OutOfBounds` from a model (`reason_of`
says it in one line), `ValueError` from a row's own `check`.

Each row says its bound three times: `check` in full and in words, `condition` as an expression of
Python that nearly every good value meets at once (`checks`), and `__get_pydantic_core_schema__` to
the library that puts in words what a model does not take (`models`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

_INT32: Final = 2**31 - 1
_INT64: Final = 2**63 - 1
#: Characters of a value that an error shows, and fields that it names.
_SHOWN_MAX: Final = 48
_REASONS_MAX: Final = 3
#: A zero can have any exponent: 0E+999999999 would be written with as many zeros.
_ZEROS_MAX: Final = 100
#: Of the longest integer that is written out: forty digits.
_BITS_MAX: Final = 128
_NUL: Final = r"^[^\x00]*$"

#: What pydantic knows of a type, and its way to ask for that of another one.
_Schema = dict[str, Any]
_Handler = Callable[[Any], _Schema]


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    low: int
    high: int
    why: str

    def check(self, value: int) -> int:
        """Return the number; raises `ValueError` where it is out of bounds."""
        if not self.low <= value <= self.high:
            raise ValueError(f"must be {self}, found {brief(value)}")
        return value

    def condition(self, value: str) -> str:
        """Return an expression: true only where the value of that name can be kept."""
        return f"type({value}) is int and {self.low} <= {value} <= {self.high}"

    def __get_pydantic_core_schema__(self, source: Any, handler: _Handler) -> _Schema:
        return handler(source) | {"ge": self.low, "le": self.high}

    def __str__(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}"


@dataclass(frozen=True, slots=True)
class Exact:
    """A decimal number, as large as `most` on either side of zero."""

    most: Decimal
    #: Digits after the point.
    decimals: int
    why: str
    #: Whether a number below zero can be one.
    signed: bool = True
    #: Digits in all, without zeros at either end; None: as many as fit the rest.
    digits: int | None = None

    def check(self, value: Decimal) -> Decimal:
        """Return the number; raises `ValueError` where it is out of bounds."""
        if not value.is_finite():
            raise ValueError(f"must be a number, found {brief(value)}")
        # Compared and never calculated with: `abs` of 1e9999999999 is an overflow.
        if value > self.most or value < -self.most:
            raise ValueError(f"must be at most {self.most:,f}, found {brief(value)}")
        if value < 0 and not self.signed:
            raise ValueError(f"must not be below zero, found {brief(value)}")
        if not -self.decimals <= _exponent(value) <= _ZEROS_MAX:
            raise ValueError(f"must have at most {self.decimals} decimals, found {brief(value)}")
        if self.digits is not None and _digits(value) > self.digits:
            raise ValueError(f"must have at most {self.digits} digits, found {brief(value)}")
        return value

    def condition(self, value: str) -> str:
        """Return an expression: true only where the value of that name can be kept.

        It looks at the length of the text and at the place of the first digit, which costs a
        quarter of taking a number apart. What it leaves open is looked at in full.
        """
        is_wide = self.most >= _PLAIN_MOST and self.decimals >= _PLAIN_DECIMALS
        if not self.signed or self.digits is not None or not is_wide:
            return "False"
        return (
            f"type({value}) is Decimal and {value}.is_finite()"
            f" and {-_PLAIN_PLACES} <= {value}.adjusted() < {_PLAIN_WHOLE}"
            f" and len(str({value})) <= {_PLAIN_TEXT}"
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: _Handler) -> _Schema:
        return _after(handler(source), self.check)

    def __str__(self) -> str:
        low = "" if self.signed else "0 or more, "
        digits = "" if self.digits is None else f", {self.digits} digits in all"
        return f"{low}at most {self.most:,f}, {self.decimals} decimals{digits}"


@dataclass(frozen=True, slots=True)
class Text:
    """Text: never a NUL, never half of a surrogate pair."""

    #: In characters.
    length: int
    why: str

    def check(self, value: str) -> str:
        """Return the text; raises `ValueError` where it is out of bounds."""
        if len(value) > self.length:
            raise ValueError(f"must be at most {self.length:,} characters, found {len(value):,}")
        if "\0" in value:
            raise ValueError(f"must not hold the character NUL, found {brief(value)}")
        if any("\ud800" <= one <= "\udfff" for one in value):
            raise ValueError(f"must be text in UTF-8, found {brief(value)}")
        return value

    def condition(self, value: str) -> str:
        """Return an expression: true only where the value of that name can be kept."""
        return (
            f"type({value}) is str and len({value}) <= {self.length}"
            f" and '\\0' not in {value} and ({value}.isascii() or is_utf8({value}))"
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: _Handler) -> _Schema:
        return handler(source) | {"max_length": self.length, "pattern": _NUL}

    def fitted(self, value: str) -> str:
        """Return what can be kept of a text from outside: escaped, and without its end."""
        known = value[: self.length].encode("utf-8", "backslashreplace").decode()
        return known.replace("\0", "\\x00")[: self.length]

    def __str__(self) -> str:
        return f"at most {self.length:,} characters"


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, with its zone."""

    first: datetime
    last: datetime
    why: str

    def check(self, value: datetime) -> datetime:
        """Return the instant; raises `ValueError` where it is out of bounds."""
        if value.utcoffset() is None or not self.first <= value <= self.last:
            raise ValueError(f"must be {self}, found {value.isoformat()}")
        return value

    def condition(self, value: str) -> str:
        """Return an expression: true only where the value of that name can be kept."""
        return (
            f"type({value}) is datetime and {value}.tzinfo is UTC"
            f" and {self.first.year} <= {value}.year < {self.last.year}"
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: _Handler) -> _Schema:
        return _after(handler(source) | {"tz_constraint": "aware"}, self.check)

    def __str__(self) -> str:
        return f"from {self.first:%Y} to {self.last:%Y}, with a time zone"


Bound = Whole | Exact | Text | Moment

#: A number is plain whose text is as short as this, and whose first digit stands so near to the
#: point: it is below 10**18, and has at most 340 decimals.
_PLAIN_TEXT: Final = 40
_PLAIN_PLACES: Final = 300
_PLAIN_WHOLE: Final = 18
_PLAIN_MOST: Final = Decimal(10**_PLAIN_WHOLE)
_PLAIN_DECIMALS: Final = _PLAIN_PLACES + _PLAIN_TEXT


def is_utf8(value: str) -> bool:
    """Say whether a text has no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _after(schema: _Schema, check: Callable[[Any], object]) -> _Schema:
    function = {"type": "no-info", "function": check}
    return {"type": "function-after", "function": function, "schema": schema}


# ── what can be kept ─────────────────────────────────────────────────────────────────────────────

CON_ID: Final = Whole(0, _INT32, "an int on IB's wire; 0: IB has not been asked yet")
ORDER_NUMBER: Final = Whole(-_INT32, _INT32, "an int on IB's wire; below 0: entered by hand")
CLIENT_ID: Final = Whole(-_INT32, _INT32, "an int on IB's wire")
PERM_ID: Final = Whole(0, _INT64, "a long on IB's newest wire; 0: not known")
WIRE_INTEGER: Final = Whole(-_INT32, _INT32, "codes, versions, ids of questions: ints on IB's wire")
SEQUENCE: Final = Whole(0, _INT64, "the largest whole number that both databases hold")
COUNT: Final = Whole(0, _INT64, "the same")
DIFFERENCE: Final = Whole(-_INT64, _INT64, "the same, of either sign")
PORT: Final = Whole(0, 65_535, "a port of TCP; 0: off")
UNITS: Final = Whole(1, _INT64, "units of a split or a leg")
NUMBER: Final = Exact(
    Decimal(10**18),
    400,
    "quantities, prices, distances and percents; a double on IB's wire has up to 340 decimals",
)
MONEY: Final = Exact(Decimal(10**60), 1_200, "products and sums of such numbers, made by our books")
WORD: Final = Text(
    128,
    "what keys are made of, and IB's own words: two of them, escaped, fit an entry of an index of"
    " PostgreSQL (2,704 bytes)",
)
LABEL: Final = Text(600, "keys of several words, orderRef, names: one fits such an entry")
PROSE: Final = Text(1_000_000, "what people and IB write")
DOCUMENT: Final = Text(100_000_000, "an event that is kept inside another one")
MOMENT: Final = Moment(
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2200, 1, 1, tzinfo=UTC),
    "no change of zone moves it out of the calendar",
)

# ── what can be asked for ────────────────────────────────────────────────────────────────────────

ASKED_NUMBER: Final = Exact(
    Decimal(10**12),
    12,
    "beyond these it is a slip of the hand, and no table could show it; IB keeps a double, which"
    " holds every number of so many digits and not every longer one",
    digits=15,
)
ASKED_LIMIT: Final = Exact(Decimal(10**15), 18, "a limit in any currency")
ASKED_TEXT: Final = Text(10_000, "an argument, a reason, a name, from a person or a program")

#: The table, in the order in which the reference shows it.
BOUNDS: Final[dict[str, Bound]] = {
    "ConId": CON_ID,
    "OrderNumber": ORDER_NUMBER,
    "ClientId": CLIENT_ID,
    "PermId": PERM_ID,
    "WireInteger": WIRE_INTEGER,
    "SequenceNumber": SEQUENCE,
    "Count": COUNT,
    "Difference": DIFFERENCE,
    "Port": PORT,
    "Units": UNITS,
    "Quantity": NUMBER,
    "Price": NUMBER,
    "Money": MONEY,
    "Total": MONEY,
    "Word": WORD,
    "Label": LABEL,
    "Prose": PROSE,
    "Document": DOCUMENT,
    "Instant": MOMENT,
    "number asked for": ASKED_NUMBER,
    "limit": ASKED_LIMIT,
    "text given": ASKED_TEXT,
}


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple()[2]
    assert isinstance(exponent, int)
    return exponent


def _digits(value: Decimal) -> int:
    return len("".join(map(str, value.as_tuple().digits)).strip("0"))


# ── the fields of models, one a row ──────────────────────────────────────────────────────────────

ConId = Annotated[int, CON_ID]
OrderNumber = Annotated[int, ORDER_NUMBER]
ClientId = Annotated[int, CLIENT_ID]
PermId = Annotated[int, PERM_ID]
WireInteger = Annotated[int, WIRE_INTEGER]
SequenceNumber = Annotated[int, SEQUENCE]
Count = Annotated[int, COUNT]
Difference = Annotated[int, DIFFERENCE]
Port = Annotated[int, PORT]
Units = Annotated[int, UNITS]

Quantity = Annotated[Decimal, NUMBER]
Price = Annotated[Decimal, NUMBER]
Money = Annotated[Decimal, MONEY]
#: A sum of quantities, which may be larger than each.
Total = Annotated[Decimal, MONEY]

Word = Annotated[str, WORD]
Label = Annotated[str, LABEL]
Prose = Annotated[str, PROSE]
Document = Annotated[str, DOCUMENT]

Instant = Annotated[datetime, MOMENT]


# ── in words ─────────────────────────────────────────────────────────────────────────────────────


class OutOfBounds(ValueError):
    """What a model does not take."""

    def __init__(self, title: str, reasons: Sequence[Mapping[str, Any]]) -> None:
        self.title = title
        #: Of each field what is wrong, in the form of pydantic's errors.
        self.reasons = reasons
        super().__init__(title)

    def __str__(self) -> str:
        return reason_of(self)


def brief(value: object) -> str:
    """Return a value from outside in a length that fits an error, however long it is."""
    if isinstance(value, int) and value.bit_length() > _BITS_MAX:
        # Python itself refuses to write out an integer of more than 4,300 digits.
        return f"a whole number of about {value.bit_length() * 3 // 10:,} digits"
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except ValueError:  # such an integer inside of something
        text = f"a {type(value).__name__}"
    if len(text) <= _SHOWN_MAX:
        return text
    return f"{text[:_SHOWN_MAX]}... ({len(text):,} characters)"


def reason_of(error: Exception, name: str = "") -> str:
    """Return in one line what is wrong: of a model each field, why, and its value. `name` is what
    the whole is called where no field is named.
    """
    if not isinstance(error, OutOfBounds):
        return str(error) or repr(error)
    return "; ".join(
        f"{'.'.join([*[name] * bool(name), *map(str, one['loc'])]) or error.title} {_why(one)}"
        for one in error.reasons[:_REASONS_MAX]
    )


def _why(one: Mapping[str, Any]) -> str:
    match one["type"]:
        case "value_error":
            return str(one["ctx"]["error"])
        case "string_pattern_mismatch" if one["ctx"]["pattern"] == _NUL:
            return "must not hold the character NUL"
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"is not known, found {brief(one['input'])}"
        case "string_unicode":
            return "must be text in UTF-8"
        case _:
            said = str(one["msg"]).removeprefix("Input ").removeprefix("String ")
            return f"{said.replace('should', 'must', 1)}, found {brief(one['input'])}"
