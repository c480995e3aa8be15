"""What a refresh leaves for the next one, in the file that it writes: which files of events its rows were made of."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from clearwell.contract.features import FeatureView
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.tiles import Entity

FORMAT = 1
"""Another number where the same events make other rows: all are then made anew."""

_NAME = b"clearwell"
_ROW, _SINCE = "_row", "_since"


class RefreshNote(msgspec.Struct, frozen=True):
    """Written into the file. `events` are the files of events, and when they came into the list that `list` names."""

    digest: str
    list: str
    events: dict[str, datetime]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class PreviousRefresh:
    """The rows of the last refresh, and the files of events they were made of."""

    rows: pa.Table
    events: Mapping[str, datetime]


def with_note(table: pa.Table, note: RefreshNote) -> pa.Table:
    """The table with the note in it."""
    return table.replace_schema_metadata({_NAME: msgspec.json.encode(note)})


def read_previous(
    folder: Folder, file: str, view: FeatureView, schema: pa.Schema, list_id: str
) -> PreviousRefresh | None:
    """What the last refresh left; None where there is nothing to go on from: all is made anew."""
    data = folder.get(file)
    if data is None:
        return None
    try:
        reader = parquet.ParquetFile(io.BytesIO(data))
        note = msgspec.json.decode((reader.schema_arrow.metadata or {}).get(_NAME, b""), type=RefreshNote)
        if (note.format, note.digest, note.list) != (FORMAT, view.digest(), list_id):
            return None
        rows = reader.read(use_threads=False).replace_schema_metadata()
    except (pa.ArrowException, msgspec.DecodeError):
        return None
    return PreviousRefresh(rows, note.events) if rows.schema.equals(schema) else None


def split_rows(
    rows: pa.Table, keys: list[str], time: str, since: Mapping[Entity, datetime]
) -> tuple[pa.Table, set[Entity]]:
    """The rows without those of an entity of `since` from its instant on, and which of these have a row at all.

    `keys` and `time` are the columns that tell.
    """
    instants = pa.array(since.values(), rows.schema.field(time).type)
    columns = zip(*since, strict=True) if since else [()] * len(keys)
    changed_keys = [pa.array(column, rows.schema.field(key).type) for key, column in zip(keys, columns, strict=True)]
    changed = pa.table([*changed_keys, instants], names=[*keys, _SINCE])
    numbered = rows.select([*keys, time]).append_column(_ROW, pa.arange(0, rows.num_rows))
    # Without the other columns, which a join can't have where they are lists.
    joined = numbered.join(changed, keys, join_type="left outer", use_threads=False)
    untouched = pc.is_null(joined[_SINCE])
    stays = pc.or_kleene(untouched, pc.less(joined[time], joined[_SINCE]))
    known = joined.filter(pc.invert(untouched)).group_by(keys, use_threads=False).aggregate([])
    entities = set(zip(*(known[key].to_pylist() for key in keys), strict=True))
    return rows.take(joined.filter(stays)[_ROW]), entities
