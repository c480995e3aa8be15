"""INT96, how Spark, Hive and Impala wrote times: any year, in nanoseconds; Arrow's nanoseconds end in 2262 and wrap.

So such columns are read a second time in whole seconds, which always fit: both numbers together are the exact time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class Int96Seconds:
    """The INT96 columns of a file in whole seconds, in step with its batches. Costs nothing where there are none."""

    def __init__(self, content: Any, parquet: Any) -> None:
        leaves = [parquet.schema.column(index) for index in range(len(parquet.schema))]
        self._paths = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
        self._parquet = pq.ParquetFile(content, coerce_int96_timestamp_unit="s") if self._paths else None
        self._batches: Iterator[Any] = iter(())
        self._left: Any = None

    def begin(self, size: int, groups: list[int]) -> None:
        """Start at the first of these row groups."""
        self._left = None
        if self._parquet is not None:
            self._batches = self._parquet.iter_batches(size, row_groups=groups, columns=self._paths)

    def take(self, count: int) -> Mapping[str, Any]:
        """The columns' next `count` values, by the column's name."""
        if self._parquet is None:
            return {}
        parts = []
        while count:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._batches)
            part = self._left.slice(0, count)
            self._left = self._left.slice(part.num_rows)
            count -= part.num_rows
            parts.append(part)
        whole = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        return dict(zip(whole.schema.names, whole.columns, strict=True))
