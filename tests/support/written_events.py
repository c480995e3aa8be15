"""Events as hypothesis writes them: fitting values mostly, hostile ones often, and text in ways that differ."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

ODD_TEXT = st.sampled_from(["", "\0", 'a"b', "a\\", "é", ":", '":', "ab\n", "z", "[", "{", "\x7f", "😀"])
WORDS = st.one_of(st.text(max_size=6), ODD_TEXT)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)
MOMENTS = st.one_of(
    st.datetimes().map(lambda one: one.isoformat() + "Z"),
    st.builds(
        "{}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
        st.sampled_from(["2013", "0001", "9999", "0000"]),
        st.integers(0, 13),
        st.integers(0, 32),
        st.sampled_from("Tt x"),
        st.integers(0, 24),
        st.integers(0, 60),
        st.integers(0, 60),
        st.sampled_from(["", ".5", ".", ".1234567", ".9999995", ".999999499999", ",5"]),
        st.sampled_from(["Z", "z", "", "+00:00", "-23:59", "+24:00", "+0530", "+05", "-00:60"]),
    ),
)
NUMBERS = st.one_of(
    st.integers(-10, 10),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**31, -(2**31), 2**63, -(2**63), 10**30, 10**400, 1e300]),
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "id": st.text(st.characters(exclude_categories=["Cs"]), max_size=21),
    "at": MOMENTS,
    "n": NUMBERS,
    "big": NUMBERS,
    "f": NUMBERS,
    "d": st.one_of(
        st.sampled_from(["1.5", "-0.00", "12345", "1234.56", "007.1", "1e2", "1.", " 1", "٣"]), NUMBERS.map(str)
    ),
    "b": st.one_of(st.booleans(), st.integers(0, 1)),
    "day": st.one_of(st.dates().map(str), st.sampled_from(["2013-02-30", "20130101", "2013-1-1", "0000-01-01"])),
    "raw": st.one_of(
        st.binary(max_size=5).map(lambda one: base64.b64encode(one).decode()),
        st.sampled_from(["QQ==", "QR==", "QQ", "Q===", "====", "_-8=", "QQ==\n"]),
    ),
    "j": JSON,
    "must": JSON,
    "tags": st.lists(WORDS, max_size=4),
    "ints": st.lists(st.one_of(NUMBERS, st.none()), max_size=3),
    "word": st.one_of(st.sampled_from(["a", "ab", "a\n", "A"]), WORDS),
    "pick": st.sampled_from(["x", "y", "z", ""]),
    "new": JSON,
    "": JSON,
    "N": JSON,
}
RAW_NUMBERS = st.sampled_from(
    [b"1e999", b"-1e999", b"NaN", b"Infinity", b"01", b"1.", b"-0", b"1e400", b"+1", b"9" * 5000]
)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """One event as bytes: mostly valid, then bent in one of many ways."""
    names = ["id", "at", "must", *draw(st.lists(st.sampled_from(list(FITTING)), max_size=8))]
    if draw(st.integers(0, 9)) > 0:
        names = list(dict.fromkeys(names))
    if draw(st.integers(0, 9)) > 7:
        names = draw(st.permutations(names))
    pairs = []
    for name in names:
        kind = draw(st.integers(0, 20))
        if kind == 20:
            value: bytes = draw(RAW_NUMBERS)
        elif kind == 19:
            value = b"[" * (depth := draw(st.sampled_from([1, 63, 64, 65, 66, 199, 250, 2000]))) + b"]" * depth
        elif kind == 18:
            value = b"null"
        else:
            inner = draw(JSON if kind == 17 else FITTING[name] if kind > 4 else SOUND.get(name, FITTING[name]))
            value = as_json(draw, inner)
        pairs.append(as_json(draw, name) + draw(st.sampled_from([b":", b" : ", b"\t:\n"])) + value)
    whole = b"{" + draw(st.sampled_from([b",", b" ,\r\n"])).join(pairs) + b"}"
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(whole)))
        whole = (
            whole[:at]
            + draw(st.sampled_from([b"", b'"', b"\\", b"\0", b"\xff", b",", b"}", b"\\ud800"]))
            + whole[at + 1 :]
        )
    return whole


SOUND: dict[str, st.SearchStrategy[Any]] = {
    "id": st.just("a"),
    "at": st.just("2013-01-01T10:00:00Z"),
    "must": st.just({"a": [1]}),
    "n": st.integers(-5, 5),
    "big": st.integers(-(2**63), 2**63 - 1),
    "f": st.floats(-1e300, 1e6),
    "d": st.just("1.50"),
    "b": st.booleans(),
    "day": st.dates().map(str),
    "raw": st.just("QQ=="),
    "tags": st.lists(st.sampled_from(["a", ":", "b c"]), max_size=3),
    "ints": st.lists(st.integers(-5, 5), max_size=3),
    "word": st.just("ab"),
    "pick": st.just("x"),
}


def as_json(draw: st.DrawFn, value: Any) -> bytes:
    """JSON as different writers write it: escaped, as UTF-8, or with every letter escaped."""
    style = draw(st.integers(0, 9))
    if style == 9 and isinstance(value, str) and value.isascii():
        return ('"' + "".join(f"\\u{ord(letter):04x}" for letter in value) + '"').encode()
    return json.dumps(value, ensure_ascii=style > 6).encode("utf-8", "surrogatepass")
