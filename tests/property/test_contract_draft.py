"""Whatever a source samples, the drafted contract passes the check, and compiles."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clearwell.contract.draft import draft, stream_name
from clearwell.contract.load import load
from clearwell.control.contract_checks import check_contracts
from clearwell.pipeline.compiler import compile
from clearwell.privacy.memory_keyring import MemoryKeyring

NAMES = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        ["id", "ID", "event_id", "key", "at", "ts", "time", "created_at", "createdAt", "date", "order_date"]
    ),
    st.sampled_from(
        ["email", "phone", "name", "first_name", "address", "ip", "dob", "null", "true", "extra", "_id", "a.b"]
    ),
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["a@b.cd", "2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "1.5", "4111111111111111"]),
    st.from_regex(r"-?[0-9]{1,45}(\.[0-9]{1,45})?", fullmatch=True),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.just(1_700_000_000))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))
TYPES = st.one_of(st.text(max_size=8), st.sampled_from(["string", "int32", "decimal", "bytes", "list", "json", "date"]))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=8), max_size=8),
    declared=st.dictionaries(NAMES, TYPES, max_size=4),
    offered=st.text(max_size=70),
    owner=st.text(max_size=20),
)
def test_any_samples_give_a_contract_that_passes_the_check(
    rows: list[dict[str, Any]], declared: dict[str, str], offered: str, owner: str
) -> None:
    stream = stream_name(offered)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / stream / "v1.yaml"
        path.parent.mkdir()
        path.write_text(draft(stream, rows, declared, owner).text)
        (checked,) = check_contracts([path])
        assert checked.problems == ()
        compile(load(path), MemoryKeyring())
