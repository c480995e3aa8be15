"""Real MQTT brokers that keep sessions: NATS from the lock file on every machine, Mosquitto where it is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.collecting import until
from tests.support.java_servers import free_ports
from tests.support.missing import program, skip_without

USER, PASSWORD = "reader", "canary-broker-password"
KINDS = ("nats", "mosquitto")

ACK_WAIT = 2
"""Seconds after which NATS sends again what was not acknowledged."""

_NATS = """\
server_name: tests
listen: "127.0.0.1:-1"
max_payload: 8MB
jetstream {{ store_dir: "{folder}/data" }}
mqtt {{ listen: "127.0.0.1:{port}", ack_wait: "{wait}s", max_ack_pending: 10000 {authorization} }}
"""


class Broker:
    """A running broker, reached at `url`."""

    def __init__(self, kind: str, folder: Path, *, password: bool = False) -> None:
        """`kind` is one of KINDS; with `password` only USER may connect. Skips the test where it can't be had."""
        self.kind, self.folder = kind, folder
        folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._command = self._nats(password) if kind == "nats" else self._mosquitto(password)
        self.start()

    def start(self) -> None:
        """Start it (again), on the same port."""
        self._log = (self.folder / "broker.log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        until(self._listens, seconds=60)

    def stop(self) -> None:
        """End it, in peace: its sessions stay; calling it again is harmless."""
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.folder / "broker.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _nats(self, password: bool) -> list[str]:
        login = f', authorization {{ username: "{USER}", password: "{PASSWORD}" }}' if password else ""
        config = self.folder / "nats.conf"
        config.write_text(_NATS.format(port=self.port, folder=self.folder, wait=ACK_WAIT, authorization=login))
        return [str(Path(sys.executable).with_name("nats-server")), "-c", str(config)]

    def _mosquitto(self, password: bool) -> list[str]:
        program_path, tool = program("mosquitto"), shutil.which("mosquitto_passwd")
        if program_path is None or tool is None:
            skip_without("Mosquitto, beside the broker that is always there", "apt-get install mosquitto")
        lines = [f"listener {self.port} 127.0.0.1", "max_queued_messages 0", "persistence true"]
        lines += [f"persistence_location {self.folder}/", "user root", "max_inflight_messages 100"]
        if password:
            users = self.folder / "users"
            subprocess.run([tool, "-b", "-c", str(users), USER, PASSWORD], check=True, capture_output=True)
            lines.append(f"password_file {users}")
        else:
            lines.append("allow_anonymous true")
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return [program_path, "-c", str(config)]
