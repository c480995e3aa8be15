"""Hostile contracts and events: what is wrong is refused in a sentence, what is right runs, each event ends once.

Seeded: a failure prints its seed, and `pytest -k "fuzz and <seed>"` runs it again.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from clearwell.contract.load import parse
from clearwell.contract.model import Contract
from clearwell.errors import ContractError
from clearwell.pipeline import RawBatch
from clearwell.pipeline.arrow import record_batch
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import Pipeline, compile
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.steps import bind
from clearwell.steps.table import STEPS

SEEDS = 6
CONTRACTS, EVENTS = 3, 40
CANARY = "canary-7f3a"

NAMES = [
    "value",
    "key",
    "class",
    "None",
    "True",
    "lambda",
    "print",
    "len",
    "self",
    "event",
    "offset",
    "process",
    "type",
]
NAMES += [
    "match",
    "extra",
    "Decimal",
    "k_value",
    "v_last_1",
    "clean",
    "subject",
    "a" * 63,
    "mro",
    "x",
    "y",
    "int",
    "and",
]
BAD_NAMES = [
    "",
    "_x",
    "__class__",
    "1a",
    "a b",
    "a-b",
    "\u0441lass",
    "na\u00efve",
    "x" * 64,
    'x"; import os #',
    "a\u200bb",
    "$id",
]

INTS = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1]
FLOATS = [0.0, -0.0, 0.1, 1e308, -1e308, 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 1e16, 23.7]
TEXTS = [
    "",
    " ",
    CANARY,
    "a",
    "ß",
    "İ",
    "é",
    "e\u0301",
    "😀",
    "\u202e",
    "12",
    "1.5",
    "true",
    "2013-01-31",
    "x" * 70,
    "\u0130" * 5,
]
DECIMALS = [
    "0",
    "-0",
    "0.00",
    "1.5",
    "99999999999999999999999999999999999999",
    "0." + "0" * 37 + "1",
    "1e5",
    "1E400",
    "NaN",
]
DECIMALS += ["-1.50", "+1", ".5", "1.", "9" * 39, "٣", "1_0", " 1", "1e-999999999", "Infinity"]
TIMES = ["2013-01-01T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+23:59"]
TIMES += [
    "9999-12-31T23:59:59-23:59",
    "2016-12-31T23:59:60Z",
    "2013-01-01T24:00:00Z",
    "2013-01-01T10:00:00",
    "2013-02-30T00:00:00Z",
]
DAYS = ["2013-01-31", "0001-01-01", "9999-12-31", "0000-01-01", "2013-13-01", "20130131", "10000-01-01"]
TYPES = ["string", "int32", "int64", "float64", "decimal", "bool", "timestamp", "date", "json", "bytes", "list"]
PRIVACY = [
    "drop",
    "mask",
    "hash",
    "pseudonym",
    "encrypt",
    {"generalise": 10},
    {"generalise": 0.1},
    {"generalise": 1e300},
]
ZONES = ["Europe/Paris", "UTC", "../etc/passwd", "Mars/Base", "", "America/New_York"]
PATTERNS = ["[a-z]+", "(a+)+", ".*", r"\d{2,}", "", "(?=a)", r"\p{L}+", "[", "(?i)canary.*", "a{1000}"]


def constant(rng: random.Random) -> Any:
    return rng.choice(
        [*INTS, *FLOATS, *TEXTS, *DECIMALS, *TIMES, *DAYS, True, False, None, [], {}, ["a"], "AAAA", 10**400]
    )


def field(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"type": rng.choice(TYPES)}
    if made["type"] == "list":
        made["items"] = rng.choice(TYPES[:8])
    if made["type"] in ("int32", "int64", "float64") and rng.random() < 0.4:
        made["min"], made["max"] = sorted((rng.choice(INTS), rng.choice([*INTS, *FLOATS])))
    if made["type"] == "decimal" and rng.random() < 0.6:
        made["precision"], made["scale"] = rng.choice([(1, 0), (2, 2), (38, 0), (38, 38), (10, 3)])
    if made["type"] in ("string", "bytes", "list") and rng.random() < 0.5:
        made["max_length"] = rng.choice([1, 5, 100, 1_048_576])
    if made["type"] == "string" and rng.random() < 0.3:
        made["pattern"] = rng.choice([*PATTERNS, ".*"])
    if made["type"] in ("string", "int32", "decimal", "date") and rng.random() < 0.05:
        made["allowed"] = [constant(rng) for _ in range(3)]
    if rng.random() < 0.25:
        made["privacy"] = rng.choice(PRIVACY)
    if rng.random() < 0.15:
        made["required"] = True
    return made


def condition(rng: random.Random, names: list[str], depth: int = 0) -> dict[str, Any]:
    kind = rng.random()
    if kind < 0.2 and depth < 4:
        return {"not": condition(rng, names, depth + 1)}
    if kind < 0.4 and depth < 4:
        return {rng.choice(["all", "any"]): [condition(rng, names, depth + 1) for _ in range(rng.randrange(1, 4))]}
    op = rng.choice(["eq", "ne", "lt", "lte", "gt", "gte", "in", "exists"])
    value: Any = (
        [constant(rng) for _ in range(2)] if op == "in" else rng.random() < 0.5 if op == "exists" else constant(rng)
    )
    return {"field": rng.choice([*names, "missing"]), op: value}


def step(rng: random.Random, names: list[str]) -> dict[str, Any]:
    """A step with arguments of about the right kinds, made from the arguments that the step itself declares."""
    kind = rng.choice(STEPS)
    if kind.verb == "rename":
        return {"rename": {rng.choice(names): rng.choice([*NAMES, *BAD_NAMES[1:4]])}}
    args: dict[str, Any] = {}
    for one in msgspec.structs.fields(kind):
        if not one.required and rng.random() < (0.75 if one.name in ("privacy", "zone") else 0.5):
            continue
        args[one.encode_name] = argument(rng, one.encode_name, names)
    if kind.verb == "fill":  # exactly one of five, or it is hardly ever right
        how = rng.choice(["constant", "mean", "median", "mode", "previous"])
        args = {"field": rng.choice(names), how: rng.choice([1, 3]) if how == "previous" else constant(rng)}
        args |= {"by": [rng.choice(names)]} if how == "previous" else {}
    if kind.verb == "derive":
        word = rng.choice(["sum", "difference", "product", "ratio", "concat"])
        args = {"field": rng.choice(NAMES), word: [rng.choice(names), rng.choice(names)]}
    return {kind.verb: args}


def argument(rng: random.Random, name: str, names: list[str]) -> Any:
    if name == "categories":
        return rng.sample(TEXTS, 2)
    if name in ("fields", "inputs"):
        return [rng.choice(names)]
    table: dict[str, list[Any]] = {
        "field": names, "by": names, "of": names, "into": [*NAMES, *BAD_NAMES], "to": TYPES, "zone": ZONES,
        "pattern": PATTERNS, "with": TEXTS, "action": ["reject", "clip", "flag"], "window": [1, 3, 1_000_000],
        "privacy": PRIVACY, "codes": [{"a": 1, CANARY: -5}, {"a": 2**31}], "unknown": ["reject", None, -1, "zeros"],
        "form": ["NFC", "NFKD"], "digits": [1, 18, 19], "clip": [True, False], "prefix": [*NAMES, "_", ""],
        "format": ["iso8601", "%Y-%m-%d", "%d %d", "%Y%H%S%f%z", "unix_seconds", "unix_microseconds", "%q", "%", "(%Y"],
    }  # fmt: skip
    numbers = [0, 1, -1, 0.1, 2.0, 19.4, 62.5, 1e308, -1e308, 5e-324, 2**53 + 1, "1.5", "0.001"]
    table |= dict.fromkeys(("mean", "q1", "q3", "min", "max"), numbers)
    table |= {"std": [0, 0.1, 1, 2, 1e308], "k": [0, 0.1, 1, 2, 1e308]}
    if name == "when":
        return condition(rng, names)
    return rng.choice(table[name]) if name in table else constant(rng)


def contract_text(rng: random.Random) -> str:
    """A right contract, grown from hostile parts: each one is tried, and left out again where it is refused."""
    made: dict[str, Any] = {
        "stream": "s", "version": 1, "owner": "a@example.com", "key": "id", "event_id": "id", "event_time": "at",
        "unknown_fields": rng.choice(["drop", "keep", "reject"]),
        "fields": {"id": {"type": "string", "required": True}, "at": {"type": "timestamp", "required": True}},
        "steps": [],
    }  # fmt: skip
    for name in [*rng.sample(NAMES, 9), rng.choice(BAD_NAMES)]:
        grown = {**made, "fields": {**made["fields"], name: field(rng)}}
        made = grown if is_right(grown) else made
    names = list(made["fields"])[2:] or ["id"]
    for _ in range(16):
        grown = {**made, "steps": [*made["steps"], step(rng, names)]}
        made = grown if is_right(grown) else made
    with_subject = {**made, "subject": rng.choice(names)}
    return json.dumps(with_subject if rng.random() < 0.5 and is_right(with_subject) else made)


def is_right(made: dict[str, Any]) -> bool:
    """Whether a contract is taken; it is refused in sentences, and by nothing but ContractError."""
    try:
        bind(parse(json.dumps(made), "s/v1.yaml"))
    except ContractError as error:
        assert str(error).replace("\n", "").isprintable()
        assert "Traceback" not in str(error) and "object at 0x" not in str(error)
        return False
    return True


GOOD: dict[str, list[Any]] = {
    "string": ["a", "12", "é", "x"], "int32": [0, 1, -1, 5], "int64": [0, 1, 7], "float64": [0.0, 1, 0.1, 23.7],
    "decimal": ["0", "0.00", "1", "0.5"], "bool": [True, False], "timestamp": TIMES[:3], "date": DAYS[:3],
    "bytes": ["AAAA", "AA=="], "json": [{"a": [1, {"b": None}]}, [], "x", 1], "list": [[]],
}  # fmt: skip


def json_value(rng: random.Random, kind: str) -> str:
    """A value as JSON text: mostly of the type, often at an edge, sometimes nonsense."""
    if rng.random() < 0.85:
        return json.dumps(rng.choice(GOOD[kind]))
    if rng.random() < 0.3:
        odd = [
            "null",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e999",
            "-1e999",
            '"\\ud800"',
            '"\\u0000"',
            "9" * 5_000,
            "[" * 90 + "]" * 90,
        ]
        return rng.choice(
            [*odd, '{"a":1,"a":2}', "1.0", "-0", "1e2", "truee", "'a'", "[" * 3_000, f'"{CANARY}"', '"\\udc00\\ud800"']
        )
    plain: dict[str, list[Any]] = {
        "string": TEXTS, "int32": INTS, "int64": INTS, "float64": [*INTS, *FLOATS], "decimal": DECIMALS,
        "bool": [True, False],
        "timestamp": TIMES, "date": DAYS, "bytes": ["AAAA", "AA==", "A", "!!!!", ""],
        "list": [[], ["a"], [1, 2], [None], ["0"]],
        "json": [{"a": [1, {"b": None}]}, [], "x", 1, 2**64, 1e5, {"": {"": ""}}],
    }  # fmt: skip
    return json.dumps(rng.choice(plain[kind]))


def event(rng: random.Random, contract: Contract) -> bytes | None:
    if rng.random() < 0.05:
        return rng.choice(
            [
                None,
                b"",
                b"{",
                b"[]",
                b"\xff\xfe",
                b"\xef\xbb\xbf{}",
                b"nul",
                b'{"id":"1"' + b" " * 10_000,
                b'"' + b"\\" * 9,
            ]
        )
    parts = [f'"id":"{rng.randrange(9)}"', f'"at":{json.dumps(rng.choice(TIMES[:3]))}']
    for one in contract.fields[2:]:
        if one.required or rng.random() < 0.5:
            parts.append(f"{json.dumps(one.name)}:{json_value(rng, one.type)}")
    if rng.random() < 0.1:
        extra = rng.choice(["Ssn", "ID", "undeclared", "\u212a", "", "__proto__", "$where", "a.b", "\x1b[2J"])
        parts.append(f"{json.dumps(extra)}:{json_value(rng, rng.choice(TYPES))}")
    if rng.random() < 0.05:
        parts.append(rng.choice(parts))
    rng.shuffle(parts)
    return ("{" + ",".join(parts) + "}").encode(errors="surrogatepass")


def check(pipeline: Pipeline, events: list[bytes | None]) -> int:
    """Each event ends once; what is kept is what the schema says, as JSON, rows and Arrow; reasons hold no data."""
    state = pipeline.new_state()
    offsets = list(range(len(events)))
    out = pipeline.process(RawBatch("t" * 22, 0, offsets, events), state)
    ended = [*out.offsets, *(at for at, _ in out.dropped), *(one.offset for one in out.rejected)]
    assert sorted(ended) == offsets
    for one in out.rejected:
        assert CANARY not in one.reason and one.reason.isprintable() and len(one.reason) < 300
        assert "could not process this event" not in one.reason, one
    for value in out.values:
        pipeline._leaving.check([value])
    rows = CleanCodec(pipeline.schema).decode(out.values)
    assert record_batch(pipeline.schema.fields, rows).num_rows == len(rows)
    split = [one for at in offsets for one in _alone(pipeline, at, events)] if not pipeline.lookback else None
    assert split is None or [msgspec.json.decode(a).keys() for a in split] == [
        msgspec.json.decode(v).keys() for v in out.values
    ]
    return len(out.values)


def _alone(pipeline: Pipeline, at: int, events: list[bytes | None]) -> list[bytes]:
    return pipeline.process(RawBatch("t" * 22, 0, [at], [events[at]]), pipeline.new_state()).values


@pytest.mark.parametrize("seed", range(SEEDS))
def test_fuzz(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(CONTRACTS):
        pipeline = compile(parse(contract_text(rng), "s/v1.yaml"), MemoryKeyring())
        check(pipeline, [event(rng, pipeline.contract) for _ in range(EVENTS)])


def test_the_fuzz_reaches_what_it_is_for() -> None:
    """Enough steps are taken and enough events kept, or it would prove nothing."""
    rng, kept, verbs = random.Random(0), 0, set[str]()
    for _ in range(10):
        pipeline = compile(parse(contract_text(rng), "s/v1.yaml"), MemoryKeyring())
        verbs |= {call.name for call in pipeline.contract.steps}
        kept += check(pipeline, [event(rng, pipeline.contract) for _ in range(EVENTS)])
    assert kept >= 40
    assert len(verbs) >= 8
