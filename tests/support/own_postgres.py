"""A Postgres of a test's own, for settings that the shared one must not have: started as the embedded stack's is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from clearwell.local import child, postgres
from clearwell.local.ports import Ports, choose
from tests.support.platform import until


@contextmanager
def own_postgres(home: Path, settings: Mapping[str, str], port: int = 0) -> Iterator[str]:
    """Its superuser's address, while it runs; on a free port, where none is given. A `home` that is there already is
    used again.
    """
    (home / "logs").mkdir(parents=True, exist_ok=True)
    port = port or choose(Ports()).postgres or 0
    process = postgres.process(home, port)
    process.setup()
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [*child.prefix(process.stop_signal, owner=process.owner), *process.argv, *options]
    with (home / "logs" / "postgres.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: _answers(process.ready, running), every=0.1)
        yield postgres.superuser_url(home, port)
    finally:
        running.send_signal(process.stop_signal)
        running.wait(30)


def _answers(ready: object, running: subprocess.Popen[bytes]) -> bool:
    assert callable(ready) and running.poll() is None
    try:
        ready()
    except Exception:
        return False
    return True
