"""A real Apache Cassandra: its jars from Maven, run by a Java it supports; tests that need one skip without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cassandra import DriverException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable, Session

from tests.support.java_servers import JavaServer, jars
from tests.support.missing import is_hidden, skip_without
from tests.support.secure_kafka import certificate

ROOT = "org.apache.cassandra:cassandra-all:5.0.4"
SUPPORTED = ("11", "17")
PASSWORD = "canary-cassandra-password"

CONFIG = """\
cluster_name: tests
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{storage}"}}]
storage_port: {storage}
native_transport_port: {port}
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
start_native_transport: true
endpoint_snitch: SimpleSnitch
commitlog_sync: periodic
commitlog_sync_period: 10000ms
auto_snapshot: false
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
column_value_size_fail_threshold: 6MiB
client_encryption_options:
  enabled: true
  optional: true
  keystore: {pem}
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
"""

EXPORTS = """
java.base/java.lang.ref java.base/java.lang.reflect java.base/jdk.internal.misc java.sql/java.sql
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server
java.rmi/sun.rmi.transport.tcp jdk.unsupported/sun.misc
"""
OPENS = """
java.base/java.io java.base/java.lang.module java.base/java.nio java.base/java.util java.base/java.util.concurrent
java.base/java.util.concurrent.atomic java.base/jdk.internal.loader java.base/jdk.internal.math
java.base/jdk.internal.module java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.util.jar java.base/sun.nio.ch java.management/com.sun.jmx.mbeanserver
jdk.management/com.sun.management.internal
"""
"""Java's insides that Cassandra reaches into: the options that its own start script gives."""


class CassandraServer(JavaServer):
    """One node, with the users "cassandra" (who may all), "writer" and "reader", who have PASSWORD.

    It speaks TLS to those who ask for it, by a certificate that `ca` vouches for.
    """

    def __init__(self) -> None:
        """Makes and starts it; skips the test where Java or its jars can't be had."""
        java = _java()
        found = [path for paths in jars(ROOT).values() for path in paths]
        super().__init__("cassandra", ports=3)
        for path in found:
            (self.folder / "lib").mkdir(exist_ok=True)
            shutil.copyfile(path, self.folder / "lib" / path.name)
        self.ca, pem = certificate(self.folder / "tls")
        config = CONFIG.format(port=self.ports[0], storage=self.ports[1], pem=pem)
        (self.folder / "cassandra.yaml").write_text(config)
        self.command = [
            *(java, "-Xmx512m", "-Xms512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *(word for one in EXPORTS.split() for word in ("--add-exports", f"{one}=ALL-UNNAMED")),
            *(word for one in OPENS.split() for word in ("--add-opens", f"{one}=ALL-UNNAMED")),
            *(f"-Dcassandra.config=file://{self.folder}/cassandra.yaml", f"-Dcassandra.storagedir={self.folder}/data"),
            *("-Dcassandra-foreground=yes", f"-Dcassandra.jmx.local.port={self.ports[2]}"),
            *("-Dcassandra.ring_delay_ms=0", "-Dcassandra.skip_wait_for_gossip_to_settle=0"),
            *("-Dcassandra.superuser_setup_delay_ms=0", f"-Djava.io.tmpdir={self.folder}"),
            *("-cp", f"{self.folder}/lib/*", "org.apache.cassandra.service.CassandraDaemon"),
        ]
        self.start()
        for name in ("writer", "reader"):
            self.run(f"CREATE ROLE {name} WITH PASSWORD = '{PASSWORD}' AND LOGIN = true")

    @property
    def port(self) -> int:
        """For clients."""
        return self.ports[0]

    def keyspace(self, name: str) -> None:
        """A new keyspace, where writer may all and reader may read."""
        self.run(
            f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
            f"GRANT ALL ON KEYSPACE {name} TO writer",
            f"GRANT SELECT ON KEYSPACE {name} TO reader",
        )

    def is_ready(self) -> bool:
        """Whether it takes logins."""
        try:
            self.run("SELECT key FROM system.local")
        except (DriverException, NoHostAvailable):
            return False
        return True

    def run(self, *statements: str) -> list[Any]:
        """As the user who may all; gives the rows of the last statement."""
        rows: list[Any] = []
        with session(self.port, "cassandra", "cassandra") as one:
            for statement in statements:
                rows = list(one.execute(statement, timeout=60))
        return rows


@contextmanager
def session(port: int, user: str, password: str) -> Iterator[Session]:
    """A session of a test's own."""
    login = PlainTextAuthProvider(user, password)
    cluster = Cluster(["127.0.0.1"], port=port, auth_provider=login, protocol_version=4, connect_timeout=20)
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def _java() -> str:
    """The first one of a version that Cassandra runs on: of PATH, of JAVA_HOME, or where distributions put theirs."""
    homes = [os.environ.get("JAVA_HOME"), *map(str, sorted(Path("/usr/lib/jvm").glob("*")))]
    for java in (shutil.which("java"), *(f"{home}/bin/java" for home in homes if home)):
        if java and os.access(java, os.X_OK) and not is_hidden("java"):
            said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
            version = re.search(r'version "(\d+)', said)
            if version and version[1] in SUPPORTED:
                return java
    return skip_without("Java 17 or 11 for Cassandra 5", "apt-get install openjdk-17-jre-headless, or set JAVA_HOME")
