"""The merge patch on JSON text does what RFC 7386 says of values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clearwell.dead_letters.patch import merge

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab\u00e9", max_size=3)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


@given(values, values)
def test_text_and_values_agree(target: Any, patch: Any) -> None:
    merged = merge(json.dumps(target, indent=1).encode(), json.dumps(patch, indent=1).encode())
    assert json.loads(merged) == _by_the_rfc(target, patch)


@given(values, values)
def test_a_patch_made_twice_changes_nothing_more(target: Any, patch: Any) -> None:
    text = json.dumps(patch).encode()
    once = merge(json.dumps(target).encode(), text)
    assert json.loads(merge(once, text)) == json.loads(once)


def _by_the_rfc(target: Any, patch: Any) -> Any:
    """Section 2, word by word."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = _by_the_rfc(target.get(name), value)
    return target
