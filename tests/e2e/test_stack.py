"""The embedded stack on its own: found again, restarted, ended, wiped, and its bad worlds. One start for most tests."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import psycopg
import pymongo
import pytest
from alembic import command
from alembic.config import Config
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient

from clearwell.errors import ConfigError, Retryable
from clearwell.local import stack, state
from clearwell.registry import Registry, models
from clearwell.settings import SERVERS, Endpoints
from tests.support.kafka_login import login
from tests.support.processes import killed_at_end

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder below one that only its owner may enter, with a running stack."""
    private = tmp_path_factory.mktemp("private")
    private.chmod(0o700)
    home = private / "home"
    try:
        stack.up(home, services=False, test_commands=True)
        yield home
    finally:
        stack.down(home, wipe=True)
        assert not home.exists()


def up(home: Path) -> Endpoints:
    return stack.up(home, services=False)


def await_that(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not come true"
        time.sleep(0.05)


def states(home: Path) -> dict[str, state.ProcessState]:
    return {one.name: one for one in stack.status(home)}


def pids(home: Path) -> list[int]:
    found = state.read(home)
    assert found is not None
    return [found.supervisor.pid, *(one.identity.pid for one in found.processes if one.identity)]


def has_ended(pid: int) -> bool:
    """A zombie has ended, too: whoever is process 1 here may be slow in fetching it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_second_up_finds_the_first(home: Path) -> None:
    before = pids(home)
    began = time.monotonic()
    endpoints = up(home)
    assert time.monotonic() - began < 2
    assert pids(home) == before
    with psycopg.connect(endpoints.postgres) as connection:
        assert connection.info.server_version >= 180_000
    with pymongo.MongoClient[dict[str, object]](endpoints.mongo) as client:
        assert client.get_default_database().name == "clearwell"


def test_two_ups_at_once_make_one_stack(home: Path) -> None:
    command = [sys.executable, "-m", "clearwell.cli.main", "up", "--no-services", "--json", "--home", str(home)]
    with ExitStack() as running:
        both = [running.enter_context(killed_at_end(command, stdout=subprocess.PIPE)) for _ in range(2)]
        said = [one.communicate(timeout=60)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert all(str(up(home).kafka).encode() in one for one in said)


def test_every_server_listens_on_loopback_alone(home: Path) -> None:
    tree = [psutil.Process(pids(home)[0]), *psutil.Process(pids(home)[0]).children(recursive=True)]
    listening = {
        connection.laddr.ip
        for process in tree
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert listening


def test_a_wrong_password_is_refused_and_the_right_one_is_private(home: Path) -> None:
    address = up(home).postgres
    password = (home / "postgres.password").read_text()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address.replace(password, "wrong"))
    for file in home.iterdir():
        if file.is_file() and password in file.read_text():
            assert file.stat().st_mode & 0o077 == 0, file.name
    for log in (home / "logs").iterdir():
        assert password not in log.read_text()


def test_topics_are_never_made_by_accident(home: Path) -> None:
    admin = KafkaAdminClient(**login(up(home).kafka))
    producer = KafkaProducer(**login(up(home).kafka), max_block_ms=1500)
    try:
        with pytest.raises(Exception, match="metadata"):
            producer.send("nobody.made.me", b"x")
        assert "nobody.made.me" not in admin.list_topics()
    finally:
        producer.close()
        admin.close()


def test_kafka_restarts_on_the_same_port_with_its_records(home: Path) -> None:
    address = up(home).kafka
    admin = KafkaAdminClient(**login(address))
    admin.create_topics({"kept": {"num_partitions": 1}})
    admin.close()
    producer = KafkaProducer(**login(address))
    producer.send("kept", b"before").get(timeout=10)
    producer.close()

    stack.restart(home, "kafka")

    assert up(home).kafka == address
    assert states(home)["kafka"].restarts == 1
    consumer = KafkaConsumer("kept", **login(address), auto_offset_reset="earliest", consumer_timeout_ms=10_000)
    assert next(consumer).value == b"before"
    consumer.close()


def test_a_process_that_dies_is_named_and_started_again(home: Path) -> None:
    pid = stack.kill(home, "mongo")
    await_that(lambda: states(home)["mongo"].restarts == 1 and states(home)["mongo"].state == state.READY)
    said = (home / "logs" / "supervisor.log").read_text()
    assert f"mongo (pid {pid}) was ended by SIGKILL; starting it again in" in said
    assert states(home)["mongo"].last_error == f"(pid {pid}) was ended by SIGKILL"


def inject_failure(address: str) -> None:
    with pymongo.MongoClient[dict[str, object]](address) as client:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_failures_can_be_injected_where_that_was_asked_for(home: Path) -> None:
    inject_failure(up(home).mongo)


def test_status_names_what_is_unknown_and_what_is_meant(home: Path) -> None:
    with pytest.raises(ConfigError, match='Did you mean "kafka"'):
        stack.kill(home, "kafak")


def test_a_stack_of_named_servers_embeds_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = up(home)
    for name in ("kafka", "postgres", "mongo"):
        monkeypatch.setenv(f"CLEARWELL_{name.upper()}", getattr(named, name))
    monkeypatch.setenv("CLEARWELL_KAFKA_SECURITY", "sasl_plaintext")
    monkeypatch.setenv("CLEARWELL_KAFKA_USER", "clearwell")
    monkeypatch.setenv("CLEARWELL_KAFKA_PASSWORD", f"${{file:{home / 'kafka.password'}}}")
    other = tmp_path / "other"
    try:
        assert up(other) == named
        assert [(one.name, one.state) for one in stack.status(other)] == [
            ("kafka", "external"),
            ("postgres", "external"),
            ("mongo", "external"),
        ]
        assert not (other / "postgres").exists()
    finally:
        stack.down(other, wipe=True)
    assert states(home)["kafka"].endpoint == named.kafka


def test_a_named_server_that_is_away_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, address in (
        ("KAFKA", "127.0.0.1:1"),
        ("POSTGRES", "postgresql://me:canary@127.0.0.1:1/x"),
        ("MONGO", "m"),
    ):
        monkeypatch.setenv(f"CLEARWELL_{name}", address)
    monkeypatch.setenv("CLEARWELL_KAFKA", up_kafka := "127.0.0.1:1")
    with pytest.raises(Retryable, match=f"kafka at {up_kafka} does not answer") as caught:
        up(tmp_path / "away")
    assert "canary" not in str(caught.value)
    assert "canary" not in (tmp_path / "away" / "logs" / "supervisor.log").read_text()
    assert state.running(tmp_path / "away") is None


def test_services_join_a_running_stack_and_come_back_when_killed(home: Path) -> None:
    before = pids(home)
    schemas = Path(__file__).parents[2] / "schemas"
    stack.up(home, schemas=schemas)
    assert pids(home)[: len(before)] == before
    services = {name for name in states(home) if name not in SERVERS}
    assert services == {"collector", *(f"worker{number}" for number in range(1, (os.cpu_count() or 1) + 1))}
    assert {one.state for one in stack.status(home)} == {"ready"}
    assert (home / "keys.json").stat().st_mode & 0o777 == 0o600

    stack.restart(home, "worker1", signal.SIGKILL)
    stack.restart(home, "collector", signal.SIGKILL)

    with closing(Registry(up(home).postgres)) as registry, registry.connection() as connection:
        migrations = Config()  # as a version of before left it
        migrations.set_main_option("script_location", str(Path(models.__file__).with_name("migrations")))
        migrations.attributes["connection"] = connection
        command.downgrade(migrations, "0009")
    assert stack.up(home, schemas=schemas) == up(home)
    with psycopg.connect(up(home).postgres) as connection:
        assert connection.execute("SELECT count(face) FROM clearwell_registry.audit").fetchone() is not None


def test_what_a_killed_supervisor_leaves_is_ended_and_the_data_stays(home: Path) -> None:
    with psycopg.connect(up(home).postgres) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    supervisor, *servers = pids(home)
    os.kill(supervisor, signal.SIGKILL)
    await_that(lambda: all(has_ended(pid) for pid in servers))  # the kernel told them
    assert {one.state for one in stack.status(home)} == {"down"}

    with psycopg.connect(up(home).postgres) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    assert pids(home)[0] != supervisor


def test_an_orphan_that_does_not_end_is_ended_by_the_next_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearwell.local.stop.ORPHANS_END_WITHIN", 0.2)
    deaf = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.pause()"])
    try:
        gone = state.Identity(pid=deaf.pid, created=1.0)  # same process id, another process: must not be touched
        itself = state.Identity.of(deaf.pid)
        left = state.StackState(gone, [state.ProcessState("kafka", state.READY, itself)])
        state.write(tmp_path / state.STATE_FILE, left)
        assert stack.down(tmp_path) is True
        assert has_ended(deaf.pid)
        assert stack.down(tmp_path) is False
    finally:
        deaf.kill()
        deaf.wait()


def test_a_process_id_used_again_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        stale = state.Identity(pid=other.pid, created=1.0)
        state.write(tmp_path / state.STATE_FILE, state.StackState(stale, [state.ProcessState("kafka", "ready", stale)]))
        assert stack.down(tmp_path) is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_an_interrupted_up_leaves_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "-m", "clearwell.cli.main", "up", "--no-services", "--home", str(home)]
    # A shell starts what it puts in the background with SIGINT ignored, and we may be in the background.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with killed_at_end(command, stderr=subprocess.PIPE, preexec_fn=heed) as starting:
        await_that(lambda: (home / state.STATE_FILE).exists(), seconds=100)
        seen = pids(home)
        starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert b"Traceback" not in said
    assert all(has_ended(pid) for pid in seen)
    stack.down(home, wipe=True)


def test_down_leaves_nothing_running_and_wipe_nothing_at_all(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(pymongo.errors.OperationFailure):
        inject_failure(up(home).mongo)  # only where that was asked for
    seen = pids(home)
    assert stack.down(home) is True
    assert all(has_ended(pid) for pid in seen)
    assert not (home / "endpoints.json").exists()
    assert stack.status(home) == []
    before = state.ports(home)
    up(home)
    assert state.ports(home) == before, "a data folder keeps its ports"
    assert stack.down(home) is True
    assert stack.down(home, wipe=True) is False
    assert not home.exists()
