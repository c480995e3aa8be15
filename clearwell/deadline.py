"""How long a call to a server may take on our side, whatever the network or the server does (invariant 12).

CLEARWELL_CALL_SECONDS: seconds, 60 by default and at most. A driver's own timeouts are set below it, so that whoever
knows more ends the call first; this is for a firewall that forgot a connection, or a proxy that acknowledges and
answers nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from clearwell.errors import ConfigError

VARIABLE = "CLEARWELL_CALL_SECONDS"
MOST_SECONDS = 60.0


def call_seconds(env: Mapping[str, str] = os.environ) -> float:
    """The bound of one call, in seconds. Raises ConfigError when the setting is none from 0.1 to 60."""
    try:
        seconds = float(env.get(VARIABLE, MOST_SECONDS))
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= MOST_SECONDS:
        raise ConfigError(f"{VARIABLE} must be a number of seconds from 0.1 to {MOST_SECONDS:.0f}.")
    return seconds


@contextmanager
def broken_off(seconds: float, break_off: Callable[[], None]) -> Iterator[None]:
    """Call `break_off` from another thread when the context lasts longer than `seconds`: closing a socket, say.

    For clients whose timeouts count anew with each byte. What the context raises because of it becomes a TimeoutError.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        break_off()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
