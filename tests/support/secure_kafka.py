"""A Kafka of a test's own with TLS and passwords: one listener for each way to be secure, on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clearwell.local import child, jars, kafka, pins
from clearwell.local.passwords import write_private
from clearwell.local.ports import LOOPBACK, Ports, choose
from tests.support.platform import until

USER, PASSWORD = "clearwell", "a-canary-of-a-password"


@dataclass(frozen=True)
class SecureKafka:
    """Addresses by protocol ("ssl", "sasl_plaintext", "sasl_ssl"), and the file of the authority to trust."""

    addresses: dict[str, str]
    ca: Path


@contextmanager
def secure_kafka(home: Path) -> Iterator[SecureKafka]:
    """Starts it as the embedded stack starts its own, with more settings; ends it."""
    for folder in ("kafka", "logs"):
        (home / folder).mkdir(parents=True)
    ca, server = certificate(home)
    write_private(home / kafka.PASSWORD_FILE, PASSWORD)
    chosen, more = choose(Ports()), choose(Ports())
    ports = {"SSL": more.postgres, "SASL_PLAINTEXT": chosen.kafka, "SASL_SSL": more.kafka}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka, "SERVER_PROPERTIES", _properties(ports, server))
        process = kafka.process(home, chosen.kafka or 0, chosen.controller or 0, jars.fetch(pins.load(), _quiet))
        process.setup()
    command = [*child.prefix(process.stop_signal, owner=process.owner), *process.argv]
    with (home / "logs" / "kafka.log").open("ab") as log:
        running = subprocess.Popen(command, env=os.environ | dict(process.env), stdout=log, stderr=log)
    try:
        until(lambda: _is_ready(process.ready), every=0.2)
        yield SecureKafka({name.lower(): f"{LOOPBACK}:{port}" for name, port in ports.items()}, ca)
    finally:
        running.terminate()
        running.wait(30)


def _quiet(_what: str, _done: int, _total: int) -> None:
    return None


def _is_ready(ready: object) -> bool:
    assert callable(ready)
    try:
        ready()
    except Exception:
        return False
    return True


def _properties(ports: dict[str, int | None], server: Path) -> str:
    """The embedded server's settings with more listeners and mechanisms, in the launcher's form."""
    more = {name: port for name, port in ports.items() if name != "SASL_PLAINTEXT"}
    lines = []
    for line in kafka.SERVER_PROPERTIES.splitlines():
        name = line.partition("=")[0]
        if name in ("listeners", "advertised.listeners"):
            line += "".join(f",{protocol}://{LOOPBACK}:{port}" for protocol, port in more.items())
        if name == "listener.security.protocol.map":
            line += "".join(f",{protocol}:{protocol}" for protocol in more)
        if name == "sasl.enabled.mechanisms":
            line += ",PLAIN"
        lines.append(line)
    login = "org.apache.kafka.common.security"
    plain = f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    lines += [
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={server}",
        f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;",
    ]
    lines += [
        f"listener.name.{name}.plain.sasl.jaas.config={plain}" for name in ("sasl_plaintext", "sasl_ssl", "controller")
    ]
    return "\n".join(lines) + "\n"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1: the file to trust, and the server's with its key (PEM, PKCS #8)."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's server")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=5))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca, server = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(public)
    server.touch(mode=0o600)
    server.write_bytes(private + public)
    return ca, server
