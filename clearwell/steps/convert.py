"""Steps that change a field's type: cast, parse_time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from msgspec import UNSET, Meta, UnsetType

from clearwell.contract.model import Field, Type
from clearwell.errors import nearest
from clearwell.steps.casts import CASTS
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import NUMBERS, Scope, Wrong
from clearwell.steps.step import Step

UNIX = {
    "unix_seconds": Decimal(1_000_000),
    "unix_milliseconds": Decimal(1_000),
    "unix_microseconds": Decimal(1),
    "unix_nanoseconds": Decimal("0.001"),
}
"""Microseconds in one unit of the formats for numbers."""

ISO = "iso8601"

FRACTIONS = (Type.FLOAT64, Type.DECIMAL)


NOT_EXACT = (ValueError, OverflowError)
"""What a conversion raises for a value that it can't take."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_KNOWN = "YmdHMSfzjy%"
_FRACTION = re.compile(r"[.,]%f")
_NANOSECONDS = re.compile(r"([.,][0-9]{6})[0-9]{1,3}(?![0-9])")
_ISO = re.compile(r"([0-9W-]{8,10})(?:[Tt ]([0-9:.,]{2,25})(?: ?([Zz]|[-+][0-9:]{2,8}))?)?")


class Cast(Step, frozen=True, kw_only=True):
    """Change a field's type in its place, exactly: a value that would lose anything is rejected.

    Text must be written as JSON and the contract write the other type: "12", "1.5", "true", "2013-01-31". A decimal
    becomes the float64 that is written the same. Bounds and patterns of the field are lifted.
    """

    verb: ClassVar[str] = "cast"
    family: ClassVar[str] = "types"
    example: ClassVar[str] = "cast: {field: flight, to: string}"

    field: Annotated[str, Meta(description="The field to change.")]
    to: Annotated[Type, Meta(description="The new type.")]

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.field, "field")
        if (target.type, self.to) not in CASTS:
            can = ", ".join(sorted(to for source_type, to in CASTS if source_type is target.type)) or "nothing"
            raise Wrong(f'"{target.name}" is {target.type}, which can be cast to {can}.', "to")
        scope.change(target, type=self.to, minimum=None, maximum=None, max_length=None)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target, result = before[self.field], after[self.field]
        make = code.reference(f"{target.type}_to_{self.to}", CASTS[target.type, self.to])
        variable = code.variable(self.field)
        with code.unless_null(target):
            with code.block("try:"):
                code.add(f"{variable} = {make}({variable}, {result.precision}, {result.scale})")
            with code.block(f"except {code.reference('NOT_EXACT', NOT_EXACT)}:"):
                code.reject(f"{self.field} is not exactly {self.to}", self.field)


class ParseTime(Step, frozen=True, kw_only=True):
    """Read text or a number as a point in time and keep it as a timestamp (UTC).

    `format` is iso8601; or is made of the numeric directives of `strptime` (%Y %y %m %d %j %H %M %S %f %z), where .%f
    may be missing in the text; or is unix_seconds, unix_milliseconds, unix_microseconds or unix_nanoseconds for
    numbers, fractions too. A timestamp has microseconds: further digits of a text, and nanoseconds, are cut; a fraction
    of a number is rounded. A time without an offset is local to `zone`: of two equal local times when clocks go back
    the earlier is meant, and one that clocks jump over is rejected. With iso8601 `zone` is for texts without an offset,
    which are rejected where it is left out.
    """

    verb: ClassVar[str] = "parse_time"
    family: ClassVar[str] = "types"
    example: ClassVar[str] = 'parse_time: {field: taken_off, format: "%d/%m/%Y %H:%M", zone: America/New_York}'

    field: Annotated[str, Meta(description="The field to read.")]
    format: Annotated[str, Meta(min_length=1, max_length=100, description="How the time is written.")]
    zone: Annotated[str, Meta(description="IANA time zone of local times, for example Europe/Paris.")] | UnsetType = (
        UNSET
    )

    def effect(self, scope: Scope) -> None:
        numeric = self.format in UNIX
        target = scope.need(self.field, "field", types=NUMBERS if numeric else (Type.STRING,))
        for letter in [] if numeric else _DIRECTIVE.findall(self.format):
            if letter not in _KNOWN:
                raise Wrong(f"%{letter} is not among %Y %y %m %d %j %H %M %S %f %z.", "format")
        if not numeric and self.format != ISO and "%" not in self.format:
            known = [ISO, *UNIX]
            raise Wrong(f'"{self.format}" is no format.{nearest(self.format, known)} See the step\'s page.', "format")
        aware = numeric or "%z" in self.format.replace("%%", "")
        if self.format != ISO and aware is not isinstance(self.zone, UnsetType):
            advice = "holds the offset, so leave `zone` out" if aware else "holds no offset, so give `zone`"
            raise Wrong(f"This format {advice}.", "format")
        if not numeric and self.format != ISO:
            _check_directives(self.format)
        _parser(self.format, self.zone, target.type)
        scope.change(target, type=Type.TIMESTAMP, minimum=None, maximum=None, max_length=None)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        parse = code.reference(f"parse_{self.field}", _parser(self.format, self.zone, before[self.field].type))
        variable = code.variable(self.field)
        with code.unless_null(before[self.field]):
            with code.block("try:"):
                code.add(f"{variable} = {parse}({variable})")
            with code.block(f"except {code.reference('NOT_EXACT', NOT_EXACT)}:"):
                code.reject(f"{self.field} is not a time in the declared format", self.field)


def _check_directives(format_: str) -> None:
    """Raise Wrong for a format that `strptime` itself can't read, which would reject every event."""
    try:
        datetime.strptime("", format_)
    except (ValueError, re.error) as error:
        if isinstance(error, re.error) or "does not match format" not in str(error):
            raise Wrong("Each directive may stand once, and a % for itself is written %%.", "format") from None


def _parser(format_: str, zone: str | UnsetType, type_: Type) -> Callable[[Any], datetime]:
    """A function from a value to an aware datetime in UTC; it raises ValueError or OverflowError."""
    local_to = None if isinstance(zone, UnsetType) else time_zone(zone, "zone")
    if format_ in UNIX:
        return partial(_from_fraction if type_ in FRACTIONS else _from_unix, UNIX[format_])
    if format_ == ISO:
        return partial(_from_iso, local_to)
    return partial(_from_text, format_, _FRACTION.sub("", format_), local_to)


def time_zone(name: str, *path: str) -> ZoneInfo:
    """The IANA time zone called `name`. Raises Wrong."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Wrong(f'There is no time zone "{name[:80]}": use an IANA name such as Europe/Paris.', *path) from error


def _from_unix(micros: Decimal, value: int) -> datetime:
    return EPOCH + timedelta(microseconds=int(value * micros) if micros >= 1 else value // int(1 / micros))


def _from_fraction(micros: Decimal, value: float | Decimal) -> datetime:
    """By the digits of the number as it is written: a float's own arithmetic would add an error."""
    return EPOCH + timedelta(microseconds=round(Decimal(str(value)) * micros))


def _from_iso(zone: ZoneInfo | None, text: str) -> datetime:
    parts = _ISO.fullmatch(text)
    if parts is None:
        raise ValueError("not ISO 8601")
    day, clock, offset = parts.groups()
    return _in_utc(datetime.fromisoformat(f"{day}T{clock or '00:00'}{(offset or '').upper()}"), zone)


def _from_text(format_: str, without_fraction: str, zone: ZoneInfo | None, text: str) -> datetime:
    try:
        parsed = datetime.strptime(text, format_)
    except ValueError:
        if format_ == without_fraction:
            raise
        shorter = _NANOSECONDS.sub(r"\1", text, count=1)
        parsed = datetime.strptime(shorter, without_fraction if shorter == text else format_)
    return _in_utc(parsed, zone)


def _in_utc(moment: datetime, zone: ZoneInfo | None) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if zone is None:
        raise ValueError("neither an offset nor a zone")
    instant = moment.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError("clocks jump over this time")
    return instant
