"""Steps that change a field's type: cast, parse_time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from msgspec import UNSET, Meta, UnsetType

from clearwell.contract.model import Field, Type
from clearwell.steps.casts import CASTS
from clearwell.steps.code import Code
from clearwell.steps.scope import INTEGERS, Scope, Wrong
from clearwell.steps.step import Step

UNIX = {"unix_seconds": 1_000_000, "unix_milliseconds": 1_000, "unix_microseconds": 1}
"""Microseconds in one unit of the three formats for numbers."""

NOT_EXACT = (ValueError, OverflowError)
"""What a conversion raises for a value that it can't take."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DIRECTIVE = re.compile(r"%(.)", re.DOTALL)
_KNOWN = "YmdHMSfzjy%"


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
            can = ", ".join(sorted(to for given, to in CASTS if given is target.type)) or "nothing"
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

    `format` is made of the numeric directives of `strptime` (%Y %y %m %d %j %H %M %S %f %z), or is unix_seconds,
    unix_milliseconds or unix_microseconds for numbers. Without %z the time is local to `zone`: of two equal local
    times when clocks go back the earlier is meant, and one that clocks jump over is rejected.
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
        target = scope.need(self.field, "field", types=INTEGERS if numeric else (Type.STRING,))
        for letter in [] if numeric else _DIRECTIVE.findall(self.format):
            if letter not in _KNOWN:
                raise Wrong(f"%{letter} is not among %Y %y %m %d %j %H %M %S %f %z.", "format")
        aware = numeric or "%z" in self.format.replace("%%", "")
        if aware is not isinstance(self.zone, UnsetType):
            wanted = "holds the offset, so leave `zone` out" if aware else "holds no offset, so give `zone`"
            raise Wrong(f"This format {wanted}.", "format")
        _parser(self.format, self.zone)
        scope.change(target, type=Type.TIMESTAMP, minimum=None, maximum=None, max_length=None)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        parse = code.reference(f"parse_{self.field}", _parser(self.format, self.zone))
        variable = code.variable(self.field)
        with code.unless_null(before[self.field]):
            with code.block("try:"):
                code.add(f"{variable} = {parse}({variable})")
            with code.block(f"except {code.reference('NOT_EXACT', NOT_EXACT)}:"):
                code.reject(f"{self.field} is not a time in the declared format", self.field)


def _parser(format_: str, zone: str | UnsetType) -> Any:
    """A function from a value to an aware datetime in UTC; it raises ValueError or OverflowError."""
    if format_ in UNIX:
        return partial(_from_unix, UNIX[format_])
    if isinstance(zone, UnsetType):
        return partial(_with_offset, format_)
    return partial(_local, format_, time_zone(zone, "zone"))


def time_zone(name: str, *path: str) -> ZoneInfo:
    """The IANA time zone called `name`. Raises Wrong."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Wrong(f'There is no time zone "{name[:80]}": use an IANA name such as Europe/Paris.', *path) from error


def _from_unix(micros: int, value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value * micros)


def _with_offset(format_: str, text: str) -> datetime:
    return datetime.strptime(text, format_).astimezone(UTC)


def _local(format_: str, zone: ZoneInfo, text: str) -> datetime:
    local = datetime.strptime(text, format_).replace(tzinfo=zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        raise ValueError("clocks jump over this time")
    return moment
