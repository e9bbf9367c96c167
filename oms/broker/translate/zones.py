"""The names that gateways write for time zones, and which zone each of them means.

A gateway takes the name from its host: an IANA name, an abbreviation, the name of Windows, or what
Java calls the zone in the language of the host (rust-ibapi #233, #364, #402, #455, #457; rib #5;
vnpy_ib #27). An abbreviation of several zones means the gateway's own zone where that is one of
them, and nothing otherwise: a guess would put fills hours off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

#: Names by the zone that they mean, whatever the season that they name: an August afternoon of New
#: York came as EST, a June evening of Berlin as CET.
_NAMED: Final = """
America/New_York: EST | EDT | Eastern Standard Time | Eastern Daylight Time | Eastern Time |
    东部标准时间 | 东部夏令时间 | 北美东部标准时间 | 北美东部夏令时间 | 美国东部标准时间 |
    東部標準時 | 美国东部时间
America/Chicago: CDT | Central Standard Time | Central Daylight Time | Central Time |
    北美中部标准时间 | 北美中部夏令时间 | 中部标准时间 | 中部夏令时间
America/Denver: MST | MDT | Mountain Standard Time | Mountain Daylight Time
America/Los_Angeles: PST | PDT | Pacific Standard Time | Pacific Daylight Time |
    北美太平洋标准时间 | 北美太平洋夏令时间 | 太平洋标准时间 | 太平洋夏令时间
America/Phoenix: US Mountain Standard Time
America/Indiana/Indianapolis: US Eastern Standard Time
America/Anchorage: AKST | AKDT | Alaskan Standard Time | Alaska Standard Time |
    Alaska Daylight Time
Pacific/Honolulu: HST | Hawaiian Standard Time | Hawaii Standard Time |
    Hawaii-Aleutian Standard Time
America/Halifax: Atlantic Standard Time | Atlantic Daylight Time
America/St_Johns: NST | NDT | Newfoundland Standard Time | Newfoundland Daylight Time
America/Regina: Canada Central Standard Time
America/Mexico_City: Central Standard Time (Mexico) | Mexican Standard Time
America/Bogota: COT | Colombia Time | SA Pacific Standard Time
America/Lima: PET | Peru Time
America/Santiago: CLT | CLST | Chile Time | Chile Summer Time | Pacific SA Standard Time
America/Sao_Paulo: BRT | BRST | Brasilia Time | Brasilia Standard Time | Brasilia Summer Time |
    E. South America Standard Time | Horário de Brasília | Horário Padrão de Brasília
America/Argentina/Buenos_Aires: ART | Argentine Time | Argentina Time | Argentina Standard Time
America/Montevideo: UYT | Montevideo Standard Time | Uruguay Time
America/Caracas: VET | Venezuela Time | Venezuela Standard Time
Europe/London: GMT Standard Time | Greenwich Mean Time | British Summer Time |
    GMT Daylight Time | 格林威治标准时间 | 格林尼治标准时间 |
    Mittlere Greenwich-Zeit | Britische Sommerzeit
Europe/Dublin: Irish Standard Time | Irish Summer Time
Europe/Lisbon: WEST | Western European Time | Western European Standard Time |
    Western European Summer Time
Europe/Berlin: W. Europe Standard Time | W. Europe Daylight Time | MEZ | MESZ | MEST | CEST |
    Central European Time | Central European Standard Time | Central European Summer Time |
    Middle Europe Time | Middle Europe Summer Time | Mitteleuropäische Zeit |
    Mitteleuropäische Normalzeit | Mitteleuropäische Sommerzeit | Zentraleuropäische Zeit |
    Zentraleuropäische Sommerzeit | Mitteleuropäische Standardzeit | Heure d'Europe centrale |
    Heure normale d'Europe centrale | Heure d'été d'Europe centrale | Hora de Europa Central |
    Hora estándar de Europa central | Hora de verano de Europa central |
    Ora dell'Europa centrale | Ora standard dell'Europa centrale |
    Ora legale dell'Europa centrale | Midden-Europese tijd | Midden-Europese standaardtijd |
    Midden-Europese zomertijd | Centraleuropeisk tid | Centraleuropeisk normaltid |
    Centraleuropeisk sommartid | 中欧标准时间 | 中欧夏令时间 | Westeuropäische Normalzeit
Europe/Paris: Romance Standard Time | Romance Daylight Time
Europe/Budapest: Central Europe Standard Time | Central Europe Daylight Time
Europe/Warsaw: Środkowoeuropejski czas stand. | Czas środkowoeuropejski |
    czas środkowoeuropejski standardowy | czas środkowoeuropejski letni
Europe/Bucharest: E. Europe Standard Time | GTB Standard Time | GTB Daylight Time
Europe/Athens: EEST | Eastern European Time | Eastern European Standard Time |
    Eastern European Summer Time | Osteuropäische Zeit | Osteuropäische Sommerzeit | OEZ | OESZ
Europe/Helsinki: FLE Standard Time | FLE Daylight Time
Europe/Istanbul: TRT | Turkey Standard Time | Turkey Time
Europe/Moscow: MSK | Moscow Standard Time | Moscow Time | Russian Standard Time |
    Russia TZ 2 Standard Time | Московское стандартное время | Москва, стандартное время
Europe/Minsk: Belarus Standard Time
Europe/Kaliningrad: Kaliningrad Standard Time
Asia/Jerusalem: IDT | Israel Standard Time | Israel Daylight Time | Jerusalem Standard Time
Asia/Riyadh: Arab Standard Time | Arabia Standard Time
Asia/Baghdad: Arabic Standard Time
Asia/Dubai: Gulf Standard Time | Arabian Standard Time
Asia/Tehran: IRST | IRDT | Iran Standard Time | Iran Daylight Time
Asia/Karachi: PKT | Pakistan Time | Pakistan Standard Time
Asia/Kolkata: India Standard Time | Indian Standard Time
Asia/Colombo: Sri Lanka Standard Time
Asia/Kathmandu: NPT | Nepal Time | Nepal Standard Time
Asia/Dhaka: Bangladesh Time | Bangladesh Standard Time
Asia/Yangon: MMT | Myanmar Standard Time | Myanmar Time
Asia/Almaty: Central Asia Standard Time
Asia/Tashkent: UZT | West Asia Standard Time
Asia/Bangkok: ICT | Indochina Time | SE Asia Standard Time
Asia/Jakarta: WIB | West Indonesia Time | Western Indonesia Time
Asia/Singapore: SGT | Singapore Time | Singapore Standard Time | Malay Peninsula Standard Time |
    新加坡标准时间 | 新加坡时间 | 马来半岛标准时间
Asia/Kuala_Lumpur: MYT | Malaysia Time
Asia/Manila: PHT | PHST | Philippine Standard Time | Philippine Time | Philippines Time
Asia/Hong_Kong: HKT | HKST | Hong Kong Time | Hong Kong Standard Time | 香港标准时间 |
    香港標準時間 | 香港时间 | 香港時間
Asia/Shanghai: China Standard Time | China Daylight Time | China Time | 中国标准时间 |
    中国夏令时间 | 中國標準時間 | 中国時間 | 中国標準時 | 北京时间 | 北京時間 |
    Chinesische Normalzeit | Chinesische Zeit
Asia/Taipei: Taipei Standard Time | Taipei Time | 台北标准时间 | 台北標準時間 | 台北時間
Asia/Tokyo: JST | JDT | Japan Standard Time | Japan Time | Tokyo Standard Time | 日本標準時 |
    日本标准时间 | 日本標準時間 | 東京 (標準時) | 東京標準時
Asia/Seoul: KST | KDT | Korea Standard Time | Korean Standard Time | 한국 표준시 |
    대한민국 표준시 | 韩国标准时间
Australia/Perth: AWST | W. Australia Standard Time | Australian Western Standard Time
Australia/Darwin: AUS Central Standard Time
Australia/Adelaide: ACST | ACDT | Cen. Australia Standard Time |
    Australian Central Standard Time | Australian Central Daylight Time
Australia/Brisbane: E. Australia Standard Time
Australia/Sydney: AEST | AEDT | AUS Eastern Standard Time | AUS Eastern Daylight Time |
    Australian Eastern Standard Time | Australian Eastern Daylight Time | 澳大利亚东部标准时间
Pacific/Auckland: NZST | NZDT | New Zealand Standard Time | New Zealand Daylight Time
Africa/Johannesburg: SAST | South Africa Standard Time
Africa/Lagos: WAT | W. Central Africa Standard Time | Western African Time
Africa/Nairobi: EAT | E. Africa Standard Time | Eastern African Time
Africa/Cairo: Egypt Standard Time
Africa/Casablanca: Morocco Standard Time
UTC: GMT | Z | Coordinated Universal Time | Universal Coordinated Time |
    协调世界时 | 协调世界时间 | 世界标准时间 | 世界協定時間 | 協定世界時 | Koordinierte Weltzeit |
    Koordinierte Universalzeit | Temps universel coordonné
"""
#: Names that several zones share.
_SHARED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "cst": ("America/Chicago", "Asia/Shanghai"),
        "ist": ("Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"),
        "bst": ("Europe/London", "Asia/Dhaka"),
        "ast": ("America/Halifax", "Asia/Riyadh"),
        "gst": ("Asia/Dubai", "Atlantic/South_Georgia"),
        "gmt": ("Europe/London", "UTC"),
        "greenwich mean time": ("Europe/London", "UTC"),
        "sst": ("Pacific/Pago_Pago", "Asia/Singapore"),
    }
)
#: GMT+8, UTC-05:30, +0800, GMT+08:00: hours east of Greenwich.
_OFFSET: Final = re.compile(r"(?:gmt|utc)?\s*([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII)
#: Zones differ by multiples of it, and clocks that show the same moment by no more than the other.
_STEP: Final = timedelta(minutes=15)
_CLOCKS_APART: Final = timedelta(minutes=5)
#: No zone is further from Greenwich.
_FURTHEST: Final = timedelta(hours=14)
#: The charsets in which a host may have written a name that is no UTF-8.
_CHARSETS: Final = ("gb18030", "big5", "cp932", "cp949", "cp1250", "cp1251", "cp1252")
#: How a byte that is no UTF-8, and a character that the gateway writes in ASCII, arrive here.
_ESCAPED: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))")


def _plain(name: str) -> str:
    return " ".join(name.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold().split())


def _table() -> Mapping[str, str]:
    lines = (line.split(": ", 1) for line in _NAMED.replace("|\n", "|").strip().splitlines())
    return MappingProxyType(
        {_plain(name): zone for zone, names in lines for name in names.split("|")}
    )


_ZONES: Final = _table()


def moment_in(local: datetime, name: str, own: ZoneInfo | None) -> datetime | None:
    """Return the instant that a local time and the name of its zone mean in a gateway whose own
    zone is `own`; None where nobody can say which zone that is.
    """
    zone = zone_named(name, own, local)
    if zone is None:
        return None
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    # In the hour that comes twice, the name of winter time is the second.
    is_second = first.tzname() != name and second.tzname() == name
    return (second if is_second else first).astimezone(UTC)


def offset_shown(text: str, now: datetime) -> int | None:
    """Return how many minutes east of Greenwich a clock stands that shows this text now; None where
    it is not a clock of any zone.
    """
    try:
        shown = datetime.fromisoformat(f"{text[:8]}T{text[9:17]}")
    except ValueError:
        return None
    ahead = shown.replace(tzinfo=UTC) - now
    steps = round(ahead / _STEP)
    is_of_a_zone = abs(ahead - steps * _STEP) <= _CLOCKS_APART and abs(ahead) <= _FURTHEST + _STEP
    return steps * _STEP // timedelta(minutes=1) if is_of_a_zone else None


def zone_named(name: str, own: ZoneInfo | None, local: datetime) -> tzinfo | None:
    """Return the zone that a name beside a local time means, None where nobody can say."""
    for spelling in _spellings(name):
        found = _spelt(spelling, own, local)
        if found is not None:
            return found
    return None


def _spelt(name: str, own: ZoneInfo | None, local: datetime) -> tzinfo | None:
    plain = _plain(name)
    if own is not None and plain in _abbreviations(own, local.year):
        return own
    if plain in _SHARED:
        zones = [ZoneInfo(zone) for zone in _SHARED[plain]]
        shared = {local.replace(tzinfo=zone).utcoffset() for zone in zones}
        if own is not None and local.replace(tzinfo=own).utcoffset() in shared:
            return own
    if plain in _ZONES:
        return ZoneInfo(_ZONES[plain])
    offset = _OFFSET.fullmatch(plain)
    if offset is not None:
        return _east(*offset.groups(default="0"))
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        return None


@lru_cache(maxsize=64)
def _abbreviations(zone: ZoneInfo, year: int) -> frozenset[str]:
    """Return what a zone is called in winter and in summer, in small letters."""
    found = (datetime(year, month, 1, tzinfo=zone).tzname() or "" for month in (1, 7))
    return frozenset(name.casefold() for name in found)


def _east(sign: str, hours: str, minutes: str) -> tzinfo | None:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if offset > _FURTHEST:
        return None
    return timezone(-offset if sign == "-" else offset)


def _spellings(name: str) -> Iterator[str]:
    """Yield a name as it came, and as its bytes read in the charsets of other hosts."""
    yield name
    if not _ESCAPED.search(name):
        return
    in_bytes = b"".join(_bytes_of(part) for part in _parts(name))
    for charset in ("utf-8", *_CHARSETS):
        with suppress(UnicodeDecodeError):
            yield in_bytes.decode(charset)


def _parts(name: str) -> Iterator[str | bytes]:
    at = 0
    for found in _ESCAPED.finditer(name):
        yield name[at : found.start()]
        byte, character = found.groups()
        yield bytes.fromhex(byte) if byte else chr(int(character, 16))
        at = found.end()
    yield name[at:]


def _bytes_of(part: str | bytes) -> bytes:
    return part if isinstance(part, bytes) else part.encode(errors="surrogatepass")
