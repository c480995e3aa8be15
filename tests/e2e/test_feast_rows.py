"""A training set has as many rows as were asked for, in order, also where entity and time are shared, through Feast."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas
import polars
import pytest

from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.features import feast_store
from clearwell.features.declared_views import declared_views
from clearwell.features.refresh import FILE, refresh
from clearwell.settings import Settings
from tests.support.views import tell_feast
from tests.support.visits import START, Row, deliver

CONTRACT = """
stream: {stream}
version: 1
owner: tester
description: Hourly readings of three stations, sorted by station, then time.
key: id
event_id: id
event_time: at
unknown_fields: reject
fields:
  id: {{type: string, required: true}}
  station: {{type: string, required: true}}
  at: {{type: timestamp, required: true}}
  temp: {{type: float64}}
routes:
  - to: features.{stream}
    entity: station
    features:
      temp: temp
      n_24h: {{count: id, window: 24h, slide: 1h}}
"""
HOURS, ASKED = 8_700, 3_000


@pytest.mark.slow
def test_as_many_rows_out_as_in_of_a_file_sorted_by_station(
    stack: Settings, unique: Callable[[str], str], tmp_path: Path
) -> None:
    where = replace(stack, offline=str(tmp_path / "offline"), home=tmp_path, schemas=tmp_path / "schemas")
    stream = unique("air")
    path = tmp_path / "schemas" / stream / "v1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(CONTRACT.format(stream=stream))
    (declared,) = declared_views(tmp_path / "schemas")
    rows: list[Row] = [
        (f"{station}|{hour}", station, START + timedelta(hours=hour), float(hour % 24))
        for station in ("EWR", "JFK", "LGA")
        for hour in range(HOURS)
    ]
    destination = FeaturesDestination(
        where.postgres, declared.schema, declared.view, unique("group"), Folder.root(where)
    )
    destination.open()
    deliver(destination, rows, range(len(rows)), size=5_000)
    assert destination.late() == 0
    destination.close()
    refresh(where, declared.view)
    instants = [START + timedelta(days=2, minutes=20 * (n // 3)) for n in range(ASKED)]  # three flights at one minute
    asked = pandas.DataFrame(
        {"row": range(ASKED), "station": ["JFK", "JFK", "LGA"] * (ASKED // 3), "event_timestamp": instants}
    )
    tell_feast(where, [declared], stream)
    try:
        with feast_store.closing_store(where, stream) as store:
            began = time.perf_counter()
            found = store.get_historical_features(asked, features=[f"{stream}:temp", f"{stream}:n_24h"]).to_df()
            took = time.perf_counter() - began
    finally:
        tell_feast(where, [], stream)
    assert list(found["row"]) == list(range(ASKED))
    assert list(found["n_24h"]) == [24] * ASKED
    known = polars.read_parquet(tmp_path / "offline" / stream / FILE).sort("event_timestamp")
    joined = polars.from_pandas(asked).with_columns(polars.col("event_timestamp").dt.cast_time_unit("us"))
    theirs = joined.join_asof(known, on="event_timestamp", by="station", check_sortedness=False)
    assert theirs["temp"].to_list() == list(found["temp"])
    assert took < 5
