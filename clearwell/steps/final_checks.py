"""What must hold after the last step: the fields that a contract names by role, and the fitness of each protection."""

from __future__ import annotations

from collections.abc import Mapping

from clearwell.contract.model import Contract, Field, Type
from clearwell.contract.privacy import PrivacyKind
from clearwell.contract.problems import Problems
from clearwell.errors import Location, nearest

_JOINABLE = " and ".join(kind for kind in PrivacyKind if kind.traits.joinable)


def check_ends(contract: Contract, fields: Mapping[str, Field], problems: Problems) -> None:
    """Note what is wrong with key, event_id, event_time, subject and privacy in the clean event."""
    roles = [("key", name) for name in contract.key]
    roles += [("event_id", contract.event_id), ("event_time", contract.event_time)]
    for role, name in roles:
        location = contract.lines.get(role, contract.location)
        field = _field(role, name, fields, location, problems)
        if field is not None:
            _check_role(role, field, location, problems)
    if contract.subject is not None:
        _field("subject", contract.subject, fields, contract.lines.get("subject", contract.location), problems)


def _field(role: str, name: str, fields: Mapping[str, Field], location: Location, problems: Problems) -> Field | None:
    if name not in fields:
        problems.add(f'`{role}` names "{name}", which no clean event has.{nearest(name, fields)}', location)
    return fields.get(name)


def _check_role(role: str, field: Field, location: Location, problems: Problems) -> None:
    kind = field.privacy.kind if field.privacy else None
    if not field.required:
        problems.add(
            f'`{role}` is "{field.name}", which can be null: declare it required, or add a require step.', location
        )
    if role == "event_time":
        if field.type is not Type.TIMESTAMP:
            problems.add(f'`event_time` is "{field.name}", which is {field.type}: it must be a timestamp.', location)
        if kind is not None:
            problems.add(
                f'`event_time` is "{field.name}", which is protected: stores need it to order events.', location
            )
        return
    if kind is not None and not kind.traits.joinable:
        problems.add(f'`{role}` is "{field.name}", protected by {kind}: only {_JOINABLE} keep ids apart.', location)
    if field.type in (Type.JSON, Type.LIST, Type.FLOAT64):
        problems.add(f'`{role}` is "{field.name}", which is {field.type}: it does not tell events apart.', location)
