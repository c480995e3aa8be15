"""A deliverer's Arrow does not bring pandas along, nor an allocator of its own; who wants them has them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("pandas")

CODE = """
import sys
{before}
from clearwell.arrow_memory import keep_pandas_out
keep_pandas_out()
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


@pytest.mark.parametrize("wanted", ["", "jemalloc", "mimalloc"])
def test_arrow_uses_the_memory_of_the_process_unless_it_is_told(wanted: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    code = "import services.worker.__main__ as main; main.use_system_memory(); import pyarrow; "
    code += "print(pyarrow.default_memory_pool().backend_name, pyarrow.supported_memory_backends())"
    told = env | ({"ARROW_DEFAULT_MEMORY_POOL": wanted} if wanted else {})
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=told)
    used, _, supported = found.stdout.partition(" ")
    assert used == (wanted or "system") or wanted not in supported
