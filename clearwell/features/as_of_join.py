"""The newest row at or before an instant, of the same keys: for as many rows as are asked for, in their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from clearwell.errors import ConfigError

Numbers = npt.NDArray[np.int64]
NOTHING = -1


def as_of(
    asked_keys: Sequence[pd.Series],
    asked_times: Numbers,
    keys: Sequence[pd.Series],
    times: Numbers,
    created: Numbers | None = None,
) -> Numbers:
    """For each row asked for the number of the row that was newest then, or NOTHING.

    `keys` are the columns of the key, in the same order on both sides. Of rows of one key and time the one `created`
    last counts, else the last one. Raises ConfigError when a key is text on one side and a number on the other.
    """
    if not len(times):
        return np.full(len(asked_times), NOTHING, np.int64)
    asked_codes, codes = _codes(asked_keys, keys, len(asked_times), len(times))
    order = np.lexsort((created, times, codes) if created is not None else (times, codes))
    ranks, every = np.unique(np.concatenate([times, asked_times]), return_inverse=True)
    width = np.int64(len(ranks) + 1)
    placed = codes[order] * width + every[: len(times)][order]
    at = np.searchsorted(placed, asked_codes * width + every[len(times) :], side="right") - 1
    rows = order[np.maximum(at, 0)]
    same = (at >= 0) & (codes[rows] == asked_codes) & (asked_codes >= 0)
    return np.where(same, rows, NOTHING)


def _codes(
    asked: Sequence[pd.Series], known: Sequence[pd.Series], asked_count: int, known_count: int
) -> tuple[Numbers, Numbers]:
    """Equal numbers for equal keys; below zero where a part of the key is null."""
    codes = np.zeros(asked_count + known_count, np.int64)
    null = np.zeros(len(codes), bool)
    for left, right in zip(asked, known, strict=True):
        _require_alike(left, right)
        part, _ = pd.factorize(pd.concat([left, right], ignore_index=True), use_na_sentinel=True)
        null |= part < 0
        codes = pd.factorize(codes * np.int64(part.max(initial=0) + 2) + part)[0].astype(np.int64)
    codes[null] = NOTHING
    return codes[:asked_count], codes[asked_count:]


def _require_alike(left: pd.Series, right: pd.Series) -> None:
    kinds = [pd.api.types.infer_dtype(side, skipna=True) for side in (left, right)]
    if "string" in kinds and not set(kinds) <= {"string", "empty", "mixed", "categorical"}:
        raise ConfigError(
            f'The column "{left.name}" of what is asked for is {kinds[0]}, but that of the features is {kinds[1]}: '
            "nothing would be found. Convert it."
        )
