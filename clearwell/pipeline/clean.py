"""Clean records back into Python values: what deliverers, subscriptions and backfills read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from clearwell.contract.model import CleanSchema
from clearwell.errors import Fatal
from clearwell.pipeline.wire_types import clean_struct

Row = tuple[Any, ...]


class CleanCodec:
    """Decodes the values of a clean topic by its schema.

    Python values: timestamp → aware datetime in UTC, date → date, decimal → Decimal, bytes → bytes, list → list,
    json → what JSON holds; a protected field → str. A field that the record lacks (an older minor version wrote it)
    is None; one that the schema lacks (a newer one wrote it) is left out.
    """

    def __init__(self, schema: CleanSchema) -> None:
        self.schema = schema
        self.names = tuple(field.name for field in schema.fields)
        self._decode_one = msgspec.json.Decoder(clean_struct(schema)).decode

    def decode(self, values: Sequence[bytes]) -> list[Row]:
        """One row a value, in the order of the schema's fields. Raises Fatal when a value is no clean event."""
        decode, as_tuple = self._decode_one, msgspec.structs.astuple
        try:
            return [as_tuple(decode(value)) for value in values]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
            raise self._foreign(values) from None  # the error's own words would quote data (invariant 9)

    def decode_dicts(self, values: Sequence[bytes]) -> list[dict[str, Any]]:
        """One dict a value, keys in the order of the schema's fields. Raises Fatal like `decode`."""
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in self.decode(values)]

    def _foreign(self, values: Sequence[bytes]) -> Fatal:
        good = 0
        try:
            for value in values:
                self._decode_one(value)
                good += 1
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
            pass
        return Fatal(
            f"Record {good + 1} of {len(values)} is not a clean event of {self.schema.stream} v{self.schema.version}: "
            "something else writes to the clean topic."
        )
