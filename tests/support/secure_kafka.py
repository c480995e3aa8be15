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
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

from clearwell.local import child, jars, kafka, pins
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
    chosen = choose(Ports())
    assert None not in (chosen.kafka, chosen.postgres, chosen.mongo, chosen.controller)
    more = choose(Ports())
    ports = {"SSL": chosen.postgres, "SASL_PLAINTEXT": chosen.mongo, "SASL_SSL": more.kafka}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka, "SERVER_PROPERTIES", _properties(ports, server))
        process = kafka.process(home, chosen.kafka or 0, chosen.controller or 0, jars.fetch(pins.load(), _quiet))
        process.setup()
    command = [*child.prefix(process.stop_signal, process.unprivileged), *process.argv]
    with (home / "logs" / "kafka.log").open("ab") as log:
        running = subprocess.Popen(command, env=os.environ | dict(process.env), stdout=log, stderr=log)
    try:
        until(lambda: _is_ready(process.ready), every=0.2)
        _add_user(process.endpoint)
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
    """The embedded server's settings with more listeners, in the launcher's form."""
    lines = []
    for line in kafka.SERVER_PROPERTIES.splitlines():
        name = line.partition("=")[0]
        if name in ("listeners", "advertised.listeners"):
            line += "".join(f",{protocol}://{LOOPBACK}:{port}" for protocol, port in ports.items())
        lines.append(line)
    login = "org.apache.kafka.common.security"
    plain = f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    protocols = ",".join(f"{name}:{name}" for name in ("PLAINTEXT", *ports))
    lines += [
        f"listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={server}",
        "sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
    ]
    for listener in ("sasl_plaintext", "sasl_ssl"):
        lines += [
            f"listener.name.{listener}.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;",
            f"listener.name.{listener}.plain.sasl.jaas.config={plain}",
        ]
    return "\n".join(lines) + "\n"


def _add_user(plaintext: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=plaintext)
    try:
        wanted = UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, password=PASSWORD, iterations=4096)
        assert admin.alter_user_scram_credentials([wanted]) == {USER: None}
    finally:
        admin.close()


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
