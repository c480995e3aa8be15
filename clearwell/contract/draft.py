"""Drafts a contract from sample events: a file that `clearwell contract check` passes as it is, for a person to mend.

No value of a sample is in the draft (invariant 9): it holds names, types and rates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearwell.contract.draft_roles import EventTime, Sampled, event_id, event_time, key
from clearwell.contract.draft_types import guess
from clearwell.contract.fields import FIELD_NAME
from clearwell.contract.language import STREAM_NAME
from clearwell.contract.model import Type
from clearwell.contract.personal import likely_personal
from clearwell.contract.privacy import PrivacyKind

MAX_FIELDS = 500
"""More fields are left undeclared: samples with more are maps from values, not records."""

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_YAML_WORDS = ("null", "true", "false")


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of a contract, and what a person should look at: `personal` says why each such field is protected."""

    stream: str
    text: str
    personal: Mapping[str, str]
    undeclared: int
    missing: tuple[str, ...]


def stream_name(offered: str) -> str:
    """A legal name of a stream after what a source calls it: "public.Orders" → "public_orders"."""
    name = re.sub(r"[^a-z0-9]+", "_", offered.lower()).strip("_")[:63]
    return name if re.fullmatch(STREAM_NAME.pattern or "", name) else f"stream_{name}"[:63].rstrip("_")


def draft(
    stream: str, rows: Sequence[Mapping[str, Any]], declared: Mapping[str, str] | None = None, owner: str = "unknown"
) -> Draft:
    """Draft version 1 of `stream` from events as decoded from JSON, and the types that the source declares.

    Roles for which no field is fit are given to fields that are not in the samples: the draft passes the check, and
    every event is rejected until a person has chosen (invariant 6).
    """
    names = _names(rows, declared or {})
    legal = _legal(names)
    fields = [_sampled(name, rows, (declared or {}).get(name)) for name in legal]
    roles = _Roles(fields, stream)
    lines = [
        *_head(stream, len(rows), owner, roles),
        f"unknown_fields: {'drop' if len(legal) < len(names) else 'reject'}",
        *_undeclared([name for name in names if name not in set(legal)]),
        "",
        "fields:",
        *(roles.made_up()),
        *(_field(field, len(rows), roles) for field in fields),
        *_steps(roles.time),
        *_routes(stream),
    ]
    personal = {field.name: field.personal for field in fields if field.personal}
    missing = tuple(role for role, name in roles.chosen.items() if name in roles.invented)
    return Draft(stream, "\n".join(lines) + "\n", personal, len(names) - len(legal), missing)


class _Roles:
    """Which field has which role; a role that none is fit for has a field that is made up."""

    def __init__(self, fields: Sequence[Sampled], stream: str) -> None:
        taken = {field.name.lower() for field in fields}
        self.invented: dict[str, str] = {}
        self.time = event_time(fields)
        others = [field for field in fields if self.time is None or field is not self.time.field]
        found_id, found_key = event_id(others, stream), key(others, stream)
        made_id = found_id.name if found_id else self._invent("event_id", "string", taken)
        self.chosen = {
            "key": found_key.name if found_key else made_id,
            "event_id": made_id,
            "event_time": self.time.field.name if self.time else self._invent("event_time", "timestamp", taken),
        }

    def _invent(self, name: str, type_: str, taken: set[str]) -> str:
        while name.lower() in taken:
            name = f"the_{name}"
        self.invented[name] = type_
        return name

    def made_up(self) -> Iterator[str]:
        """Lines for the fields that no sample has."""
        for name, type_ in self.invented.items():
            yield f"  {name}: {{type: {type_}, required: true}}  # CHOOSE: no field of the samples is fit for it"


def _names(rows: Sequence[Mapping[str, Any]], declared: Mapping[str, str]) -> list[str]:
    """Names of fields, the declared ones first, then as they appear."""
    return list(dict.fromkeys([*declared, *(str(name) for row in rows for name in row)]))


def _legal(names: Sequence[str]) -> list[str]:
    """Those that a contract can declare; of names that differ only in case, the first."""
    legal_names: dict[str, str] = {}
    for name in names:
        if re.fullmatch(FIELD_NAME.pattern or "", name) and len(legal_names) < MAX_FIELDS:
            legal_names.setdefault(name.lower(), name)
    return list(legal_names.values())


def _sampled(name: str, rows: Sequence[Mapping[str, Any]], declared: str | None) -> Sampled:
    values = [row[name] for row in rows if row.get(name) is not None]
    return Sampled(name, guess(values, declared), values, len(rows) - len(values), likely_personal(name, values))


def _head(stream: str, samples: int, owner: str, roles: _Roles) -> Iterator[str]:
    yield f"# Drafted from {samples} sample events: look it over, then `clearwell contract check {stream}`."
    yield "# A field that was never null or missing is required; a share says how often it was."
    yield f"stream: {_name(stream)}"
    yield "version: 1"
    yield f'owner: "{_owner(owner)}"  # who answers for it'
    yield "description: Drafted from samples."
    yield ""
    for role, name in roles.chosen.items():
        why = "CHOOSE: every event is rejected until you do" if name in roles.invented else _WHY[role]
        yield f"{role}: {_name(name)}  # {why}"


_WHY = {
    "key": "unique and never null in the samples: a destination keeps one row for each",
    "event_id": "unique and never null in the samples",
    "event_time": "newer replaces older by it",
}


def _undeclared(names: Sequence[str]) -> Iterator[str]:
    if not names:
        return
    telling = [name for name in names if _PLAIN.fullmatch(name) and not likely_personal("", [name])]
    shown = ", ".join(f'"{name}"' for name in telling[:20]) or "names that are not shown"
    yield f"# {len(names)} fields can't be declared (letters, digits and _, at most 63), among them: {shown}."


def _field(sampled: Sampled, samples: int, roles: _Roles) -> str:
    said: list[str] = [f"type: {_raw_type(sampled, roles.time)}"]
    said += ["required: true"] if sampled.always or sampled.name in roles.chosen.values() else []
    said += [f"items: {sampled.guess.items}"] if sampled.guess.items else []
    said += [f"scale: {sampled.guess.scale}"] if sampled.guess.scale else []
    said += [f"privacy: {_protection(sampled, roles)}"] if sampled.personal else []
    notes = [sampled.personal] if sampled.personal else []
    notes += [f"null in {sampled.nulls / samples:.1%}"] if sampled.nulls else []
    comment = f"  # {'; '.join(notes)}" if notes else ""
    return f"  {_name(sampled.name)}: {{{', '.join(said)}}}{comment}"


def _raw_type(sampled: Sampled, time: EventTime | None) -> Type:
    """A date that becomes the event's time by a step is text until then."""
    return Type.STRING if time and time.field is sampled and sampled.guess.type is Type.DATE else sampled.guess.type


def _protection(sampled: Sampled, roles: _Roles) -> PrivacyKind:
    """Ids must stay apart: they become pseudonyms; all else can be read again by those who may."""
    return PrivacyKind.PSEUDONYM if sampled.name in roles.chosen.values() else PrivacyKind.ENCRYPT


def _steps(time: EventTime | None) -> Iterator[str]:
    if time is None or time.format is None:
        return
    zone = f", zone: {time.zone}" if time.zone else ""
    note = "  # CHOOSE the zone: the samples do not say it" if time.zone else ""
    yield ""
    yield "steps:"
    yield f'  - parse_time: {{field: {_name(time.field.name)}, format: "{time.format}"{zone}}}{note}'


def _routes(stream: str) -> Iterator[str]:
    yield ""
    yield "# steps that may help: trim, bounds, rename; deduplicate, if an id never comes again with new content"
    yield "# routes:"
    yield f"#   - {{to: postgres, table: {stream}}}"


def _name(name: str) -> str:
    return f'"{name}"' if name.lower() in _YAML_WORDS else name


def _owner(text: str) -> str:
    """Text that needs no escapes, and in which no template can hide."""
    return re.sub(r"[^A-Za-z0-9 @._+-]", "", text)[:200].strip() or "unknown"
