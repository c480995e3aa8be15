"""People who act at once on the control plane."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from clearwell.errors import ConfigError


def refused_at_once(*acts: Callable[[], object]) -> list[str]:
    """The codes of those who were refused, of acts that begin together."""
    together = Barrier(len(acts))

    def run(act: Callable[[], object]) -> str | None:
        together.wait()
        try:
            act()
        except ConfigError as error:
            return error.code
        return None

    with ThreadPoolExecutor() as pool:
        return [code for code in pool.map(run, acts) if code is not None]
