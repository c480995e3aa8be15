"""A deliverer's Arrow does not bring pandas along; who wants it has it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pandas")

CODE = """
import sys
{before}
from services.deliverer.lean import arrow_without_pandas
arrow_without_pandas()
import pyarrow
pyarrow.table({{"a": pyarrow.array([1, 2])}})
print("pandas" in sys.modules)
import pandas
frame = pyarrow.table({{"a": [1, 2]}}).to_pandas()
print(frame["a"].sum(), pyarrow.Table.from_pandas(frame).num_rows)
"""


@pytest.mark.parametrize(
    ("before", "loaded"), [("import pyarrow", False), ("import pandas, pyarrow", True), ("", True)]
)
def test_pandas_stays_away_until_it_is_asked_for(before: str, loaded: bool) -> None:
    code = CODE.format(before=before)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    first, second = found.stdout.splitlines()
    assert first == str(loaded)
    assert second == "3 2"
