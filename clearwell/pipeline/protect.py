"""The last part of the generated loop: protected fields lose their clear values, then the event becomes JSON.

Fail closed (invariant 6): every key that will be needed is asked for when the pipeline is compiled, and an event whose
protection fails is rejected, never passed on.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.pipeline.wire_types import clean_struct
from clearwell.privacy.envelope import Sealer, draw_nonces
from clearwell.privacy.field_classes import PROTECTIONS, Constant, OfBytes
from clearwell.privacy.keyring import Keyring
from clearwell.source import EVENT_LIMIT
from clearwell.steps.loop_writer import Code
from clearwell.steps.plan import StepPlan

MAX_CLEAN_BYTES = 8 * EVENT_LIMIT
"""Key and value of a clean event together; the clean topic takes a little more, for the headers."""

MAX_SEALERS = 10_000


class Sealers:
    """The sealer of each subject's present key; building one costs as much as a seal, so some are kept."""

    def __init__(self, keyring: Keyring, stream: str) -> None:
        self._keyring = keyring
        self._stream = stream
        self._by_key: dict[str, Sealer] = {}

    def of(self, subject: str | None) -> Sealer:
        """The sealer of `subject`'s events now. Raises Fatal when there is no key."""
        key = self._keyring.seal_key(subject)
        sealer = self._by_key.get(key.id)
        if sealer is None:
            if len(self._by_key) >= MAX_SEALERS:
                self._by_key.clear()
            sealer = self._by_key[key.id] = Sealer(key, self._stream)
        return sealer


def emit_output(code: Code, plan: StepPlan, keyring: Keyring) -> None:
    """Write the lines that protect and keep one event. Raises Fatal when the keyring lacks a key (invariant 6)."""
    code.step = "protect"
    _emit_protection(code, plan, keyring)
    for field in plan.schema.fields:
        _emit_text_of_decimals(code, field, field.name in plan.schema.key)
    schema = plan.schema
    code.bind("_Clean", clean_struct(schema))
    code.bind("_encode", msgspec.json.Encoder().encode)
    code.add(f"_clean = _encode(_Clean({', '.join(code.variable(field.name) for field in schema.fields)}))")
    code.add(f"_key = {_key(code, schema)}")
    with code.block(f"if _len(_clean) + _len(_key) > {MAX_CLEAN_BYTES}:"):
        code.reject(f"the clean event is larger than {MAX_CLEAN_BYTES} bytes")
    code.add("_keep_offset(_offset)", "_keep_key(_key)", "_keep_value(_clean)")


def _emit_protection(code: Code, plan: StepPlan, keyring: Keyring) -> None:
    stream, event_id = plan.schema.stream, plan.schema.event_id
    # The event id goes first: envelopes are bound to the id that readers see.
    protected = sorted((f for f in plan.clear.values() if f.privacy), key=lambda field: field.name != event_id)
    sealed = [field for field in protected if field.privacy and field.privacy.kind.traits.reads_back]
    if sealed:
        _emit_sealer(code, plan, keyring, len(sealed))
    for field in protected:
        if field in sealed:
            id_text = _text(code, plan.schema.field(event_id))
            seal = f"_seal({field.name!r}, {id_text}, {_clear(code, field)}, _next(_nonces))"
        else:
            seal = _one_way(code, field, stream, keyring)
        with code.unless_null(field):
            code.add(f"{code.variable(field.name)} = {seal}")


def _emit_sealer(code: Code, plan: StepPlan, keyring: Keyring, count: int) -> None:
    """Nonces for the batch; the subject's sealer before the subject itself may lose its clear value."""
    sealers = Sealers(keyring, plan.schema.stream)
    sealers.of(None)
    nonces = f"{code.reference('draw_nonces', draw_nonces)}({count} * _len(_values))"
    code.opening += ["_seals = {}", f"_nonces = {nonces}"]
    code.bind("_sealer_of", sealers.of)
    code.bind("_next", next)
    code.add(f"_subject = {_subject_text(code, plan)}", "_seal = _seals.get(_subject)")
    with code.block("if _seal is None:"):
        code.add("_seal = _seals[_subject] = _sealer_of(_subject).seal")


def _one_way(code: Code, field: Field, stream: str, keyring: Keyring) -> str:
    """The expression that takes a clear value's place."""
    assert field.privacy is not None
    kind = field.privacy.kind
    protection = PROTECTIONS[kind]
    if isinstance(protection, Constant):
        return repr(protection.value)
    protect = code.reference(f"{field.name}_{kind}", protection.make(keyring, stream, field))
    return f"{protect}({_clear(code, field) if isinstance(protection, OfBytes) else code.variable(field.name)})"


def _clear(code: Code, field: Field) -> str:
    """The bytes that are sealed or hashed: UTF-8 of text, the JSON of anything else."""
    variable = code.variable(field.name)
    if field.type is Type.STRING:
        return f"{variable}.encode()"
    exact = field.type is Type.DECIMAL
    value = f"{code.reference('one_spelling', one_spelling)}({variable})" if exact else variable
    return f"{code.reference('to_json', msgspec.json.encode)}({value})"


def _subject_text(code: Code, plan: StepPlan) -> str:
    """The subject as text, in the clear: it chooses the key. "None" where the contract names none."""
    if plan.schema.subject is None:
        return "None"
    field = plan.clear[plan.schema.subject]
    variable = code.variable(field.name)
    if field.type is Type.STRING:
        return variable
    as_text = one_spelling if field.type is Type.DECIMAL else str
    text = f"{code.reference(as_text.__name__, as_text)}({variable})"
    return text if field.required else f"None if {variable} is None else {text}"


def _text(code: Code, field: Field) -> str:
    """The event id as text; see `event_id_text`."""
    variable = code.variable(field.name)
    if field.clean_type is Type.STRING:
        return variable
    return f"{code.reference('event_id_text', event_id_text)}({variable})"


def event_id_text(value: Any) -> str:
    """A clean event's id as the text envelopes are bound to: a string as it is, the rest as JSON without quotes."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')


def one_spelling(value: Decimal) -> str:
    """A decimal as the fewest plain digits: stores, Kafka and hashes compare texts, and 1.5 and 1.50 are one key."""
    text = format(value, "zf")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _emit_text_of_decimals(code: Code, field: Field, in_key: bool) -> None:
    """Decimals leave as plain digits, as many as were given; `str` would write 0.0000001 as 1E-7."""
    if field.is_protected_text:
        return
    variable, as_text = code.variable(field.name), code.reference("format", format)
    if field.type is Type.DECIMAL:
        with code.unless_null(field):
            spelling = code.reference("one_spelling", one_spelling)
            code.add(f"{variable} = {spelling}({variable})" if in_key else f"{variable} = {as_text}({variable}, 'f')")
    elif field.type is Type.LIST and field.items is Type.DECIMAL:
        with code.unless_null(field):
            code.add(f"{variable} = [{as_text}(_item, 'f') for _item in {variable}]")


def _key(code: Code, schema: CleanSchema) -> str:
    """Kafka's key: the text of one string, or a compact JSON array. Protected key fields are protected by now."""
    fields = [schema.field(name) for name in schema.key]
    if len(fields) == 1 and fields[0].clean_type is Type.STRING:
        return f"{code.variable(fields[0].name)}.encode()"
    return f"_encode([{', '.join(code.variable(field.name) for field in fields)}])"
