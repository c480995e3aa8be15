"""Waiting times for retries: exponential with full jitter, so that many processes do not come back at once."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(first: float = 0.1, cap: float = 15.0) -> Iterator[float]:
    """Endless seconds to wait: uniform in [bound/2, bound], where the bound doubles from `first` up to `cap`.

    Half of the bound is kept, unlike AWS's "full jitter", so that no retry comes at once.
    """
    bound = first
    while True:
        yield random.uniform(bound / 2, bound)  # noqa: S311 - not a secret
        bound = min(bound * 2, cap)
