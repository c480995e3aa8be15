"""A real MQTT broker as a process: Mosquitto where it is installed, amqtt from the lock file otherwise."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.collecting import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
USER, PASSWORD = "reader", "canary-broker-password"

_AMQTT = """
import asyncio, logging, sys
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig
async def main():
    broker = Broker({
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:%d"}},
        "plugins": {"amqtt.plugins.authentication.%s": %s},
    })
    await broker.start()
    await asyncio.Event().wait()
logging.disable()
asyncio.run(main())
"""


class Broker:
    """A running broker, reached at `url`."""

    def __init__(self, kind: str, folder: Path, *, password: bool = False) -> None:
        """`kind` is "mosquitto" or "amqtt"; with `password` only USER may connect."""
        if kind == "mosquitto" and MOSQUITTO is None:
            pytest.skip("mosquitto is not installed")
        self.kind, self.folder, self.password = kind, folder, password
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it (again), on the same port."""
        argv = self._mosquitto() if self.kind == "mosquitto" else [sys.executable, "-c", self._amqtt()]
        self._log = (self.folder / "broker.log").open("ab")
        self._process = subprocess.Popen(argv, stdout=self._log, stderr=self._log)
        until(self._listens)

    def stop(self) -> None:
        """End it; calling it again is harmless."""
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.folder / "broker.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _mosquitto(self) -> list[str]:
        assert MOSQUITTO is not None
        lines = [f"listener {self.port} 127.0.0.1", "max_queued_messages 0", "persistence true"]
        lines += [f"persistence_location {self.folder}/", "user root", "max_inflight_messages 100"]
        if self.password:
            users = self.folder / "users"
            tool = shutil.which("mosquitto_passwd")
            assert tool is not None
            subprocess.run([tool, "-b", "-c", str(users), USER, PASSWORD], check=True, capture_output=True)
            lines.append(f"password_file {users}")
        else:
            lines.append("allow_anonymous true")
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return [MOSQUITTO, "-c", str(config)]

    def _amqtt(self) -> str:
        if not self.password:
            return _AMQTT % (self.port, "AnonymousAuthPlugin", "{'allow_anonymous': True}")
        from pwdlib import PasswordHash

        users = self.folder / "users"
        users.write_text(f"{USER}:{PasswordHash.recommended().hash(PASSWORD)}\n")
        return _AMQTT % (self.port, "FileAuthPlugin", {"password_file": str(users)})
