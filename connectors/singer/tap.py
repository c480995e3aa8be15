"""A tap as a process: its files, its output line by line, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from clearwell.errors import ConfigError, Retryable
from clearwell.local.environment import for_programs

DISCOVER_SECONDS = 120
BLOCK = 1_048_576
LONGEST_LINE = 64 * 1_048_576
GOODBYE_SECONDS = 5.0
POLL_SECONDS = 0.5


class Tap:
    """One tap with its settings. They are given in files that only this user can read and that end with the run."""

    def __init__(self, command: Path, config: Mapping[str, Any], patience: float) -> None:
        self._command = command
        self._config = dict(config)
        self._patience = patience

    def discover(self) -> dict[str, Any]:
        """The tap's catalog. Blocks; raises ConfigError when it gives none, Retryable when it takes too long."""
        with tempfile.TemporaryDirectory(prefix="clearwell-tap-") as folder:
            argv = [str(self._command), "--config", _written(folder, "config", self._config), "--discover"]
            try:
                done = subprocess.run(
                    argv, capture_output=True, timeout=DISCOVER_SECONDS, stdin=subprocess.DEVNULL, env=for_programs()
                )
            except subprocess.TimeoutExpired:
                raise Retryable(
                    f"The tap {self._command.name} --discover took longer than {DISCOVER_SECONDS} s."
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"The tap {self._command.name} can't be run ({error.strerror}): install it anew."
                ) from None
        if done.returncode:
            raise ConfigError(
                f"The tap {self._command.name} --discover ended with exit code {done.returncode}: check its `config`; "
                "run it by hand to see what it says."
            )
        try:
            return msgspec.json.decode(done.stdout, type=dict[str, Any])
        except Exception:  # hostile data raises outside msgspec's own errors too
            raise ConfigError(f"The tap {self._command.name} --discover gave no catalog: is it a Singer tap?") from None

    @asynccontextmanager
    async def running(
        self, catalog: Mapping[str, Any], state: Mapping[str, Any] | None
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """The tap's lines while it runs, as they come; none where it is silent for a while. It is ended with the block.

        The lines raise Retryable when it ends with another exit code than 0, or is silent for longer than `patience`.
        """
        with tempfile.TemporaryDirectory(prefix="clearwell-tap-") as folder:
            argv = [str(self._command), "--config", _written(folder, "config", self._config)]
            argv += ["--catalog", _written(folder, "catalog", catalog)]
            if state is not None:
                argv += ["--state", _written(folder, "state", state)]
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                env=for_programs(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # it may quote data and settings (invariants 9 and 10)
                start_new_session=True,
                limit=BLOCK,
            )
            try:
                yield self._lines(process)
            finally:
                await asyncio.shield(asyncio.ensure_future(_end(process)))

    async def _lines(self, process: asyncio.subprocess.Process) -> AsyncIterator[list[bytes]]:
        assert process.stdout is not None
        rest, silent = b"", 0.0
        reading: asyncio.Task[bytes] | None = None
        try:
            while True:
                reading = reading or asyncio.create_task(process.stdout.read(BLOCK))
                await asyncio.wait({reading}, timeout=POLL_SECONDS)
                if not reading.done():
                    silent += POLL_SECONDS
                    self._require_patience(silent)
                    yield []
                    continue
                block, reading, silent = reading.result(), None, 0.0
                if not block:
                    break
                *lines, rest = (rest + block).split(b"\n")
                self._require_bounded(rest)
                yield [line for line in lines if line.strip()]
        finally:
            if reading is not None:
                reading.cancel()
        await self._require_good_end(process, rest)

    def _require_patience(self, silent: float) -> None:
        if silent >= self._patience:
            raise Retryable(
                f"The tap {self._command.name} wrote nothing for {silent:.0f} s and was ended; see `patience`."
            )

    def _require_bounded(self, line: bytes) -> None:
        if len(line) > LONGEST_LINE:
            raise ConfigError(
                f"The tap {self._command.name} wrote a line of over {LONGEST_LINE} bytes: that is no message."
            )

    async def _require_good_end(self, process: asyncio.subprocess.Process, rest: bytes) -> None:
        code = await process.wait()
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise Retryable(
                f"The tap {self._command.name} {how}: run it by hand to see what it says, and check its `config` and "
                "rights."
            )
        if rest.strip():
            raise Retryable(f"The tap {self._command.name} ended in the middle of a message.")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the tap and what it started, first by asking."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await process.wait()
    await process.wait()
    transport = getattr(process, "_transport", None)  # asyncio closes the pipe's transport only once it is collected
    if transport is not None:
        transport.close()


def _written(folder: str, name: str, content: Mapping[str, Any]) -> str:
    """Write a JSON file into a folder that only this user can enter; its path."""
    path = Path(folder) / f"{name}.json"
    path.write_bytes(msgspec.json.encode(content))
    return str(path)
