"""Keeps pandas out of a deliverer that has no use for it: 60 MB, where it is installed, as it is beside Feast.

pyarrow imports pandas when it makes its first array, to know its columns if it should ever be given any.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not for this process", name=fullname)


def arrow_without_pandas() -> None:
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
