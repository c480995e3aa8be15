"""Keeps a process small that uses Arrow: deliverers by their destination, and backfills on the command line.

Arrow's own allocator keeps what it has once had: a feature view at 2,500 events/s, compacted often, peaked at 269 MB,
and at 211 with the one of the rest of the process. And pyarrow imports pandas, where that is installed (as beside
Feast), when it makes its first array, to know its columns if it should ever be given any: 50 MB more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not for this process", name=fullname)


def use_system_memory() -> None:
    """Let Arrow use the allocator of the rest of the process; call it before pyarrow is imported.

    ARROW_DEFAULT_MEMORY_POOL, where somebody set it, says otherwise.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def keep_pandas_out() -> None:
    """Let pyarrow, where the process has loaded it, look for pandas once, and find none.

    A destination that uses pandas may import it before it is made, and nothing changes, or after: then `to_pandas` and
    `from_pandas` work, and `pyarrow.array` takes a Series for a list.
    """
    if "pyarrow" not in sys.modules or "pandas" in sys.modules:
        return
    import pyarrow

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pyarrow.array([])
    finally:
        sys.meta_path.remove(finder)
