"""The join of training sets is that of two other libraries: as many rows out as in, in order."""

from __future__ import annotations

import random
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

from clearwell.errors import ConfigError
from clearwell.features.as_of_join import NOTHING, Numbers, as_of

DAY = 86_400_000_000


def frames(seed: int, rows: int, asked: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features and what is asked for: few instants and entities, so that many are shared, and keys that are nowhere."""
    rng = random.Random(seed)
    known = pd.DataFrame(
        [(rng.choice(["JFK", "LGA"]), rng.randrange(3), rng.randrange(50), n) for n in range(rows)],
        columns=["leg", "number", "time", "value"],
    ).drop_duplicates(["leg", "number", "time"], keep="last", ignore_index=True)
    want = pd.DataFrame(
        [(rng.choice(["JFK", "LGA", "EWR"]), rng.randrange(4), rng.randrange(-5, 60)) for _ in range(asked)],
        columns=["leg", "number", "time"],
    )
    return known, want


def ours(known: pd.DataFrame, asked: pd.DataFrame) -> Numbers:
    keys = ["leg", "number"]
    return as_of(
        [asked[key] for key in keys],
        asked["time"].to_numpy(np.int64),
        [known[key] for key in keys],
        known["time"].to_numpy(np.int64),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [0, 1, 200])
def test_it_is_the_join_of_pandas_and_of_polars(seed: int, rows: int) -> None:
    known, asked = frames(seed, rows, 300)
    found = ours(known, asked)
    values = [None if at == NOTHING else int(known["value"][at]) for at in found]
    numbered = asked.assign(row=range(len(asked))).astype({"time": "int64"}).sort_values("time", kind="stable")
    typed = known.astype({"leg": "object", "number": "int64", "time": "int64", "value": "int64"})
    by_pandas = pd.merge_asof(numbered, typed.sort_values("time"), on="time", by=["leg", "number"]).sort_values("row")
    assert values == [None if one != one else int(one) for one in by_pandas["value"]]
    by_polars = (
        pl.DataFrame(numbered.to_dict("list"))
        .join_asof(
            pl.DataFrame(
                typed.sort_values("time").to_dict("list"),
                schema={"leg": pl.String, "number": pl.Int64, "time": pl.Int64, "value": pl.Int64},
            ),
            on="time",
            by=["leg", "number"],
            check_sortedness=False,
        )
        .sort("row")
    )
    assert values == by_polars["value"].to_list()


def test_of_one_time_the_row_that_was_created_last_counts_and_nulls_meet_nothing() -> None:
    keys, times = [pd.Series(["a", "a", None])], np.array([5, 5, 5])
    asked = [pd.Series(["a", None, "b"])]
    assert as_of(asked, np.array([5, 5, 5]), keys, times, np.array([2, 1, 3])).tolist() == [0, NOTHING, NOTHING]
    assert as_of(asked, np.array([5, 5, 5]), keys, times).tolist() == [1, NOTHING, NOTHING]


def test_text_asked_for_where_numbers_are_is_refused() -> None:
    with pytest.raises(ConfigError, match='column "number" of what is asked for is string'):
        as_of([pd.Series(["1"], name="number")], np.array([1]), [pd.Series([1])], np.array([1]))


def test_a_training_set_of_a_year_takes_no_time() -> None:
    rng = np.random.default_rng(1)
    known, asked = rng.integers(0, 3, 260_000), rng.integers(0, 3, 30_000)
    began = time.perf_counter()
    found = as_of(
        [pd.Series(asked)], rng.integers(0, 365 * DAY, 30_000), [pd.Series(known)], rng.integers(0, 365 * DAY, 260_000)
    )
    assert len(found) == 30_000
    assert time.perf_counter() - began < 5
