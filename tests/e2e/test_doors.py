"""The embedded servers ask who is there: loopback is open to every user of the machine."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pymongo
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

import clearwell
from clearwell.cli.main import main
from clearwell.local import kafka, mongo, postgres, state
from clearwell.settings import Settings
from tests.support.kafka_login import login
from tests.support.superuser import superuser

WRONG = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "clearwell"}
PASSWORD_FILES = (
    kafka.PASSWORD_FILE,
    mongo.PASSWORD_FILE,
    postgres.PASSWORD_FILE,
    postgres.SUPERUSER_PASSWORD_FILE,
)


@pytest.mark.parametrize("port", ["kafka", "controller"])
@pytest.mark.parametrize("way_in", [{}, WRONG | {"sasl_plain_password": "guessed"}], ids=["nobody", "a guess"])
def test_kafka_lets_nobody_in_without_the_password(stack: Settings, port: str, way_in: dict[str, str]) -> None:
    """Neither at the broker's door nor at the controller's."""
    number = getattr(plan(stack).ports, port)

    async def knock(**options: object) -> None:
        client = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{number}", request_timeout_ms=2_000, **options)
        try:
            await client.start()
        finally:
            await client.stop()

    with pytest.raises(KafkaError):
        asyncio.run(knock(**way_in))
    if port == "kafka":
        asyncio.run(knock(**{name: value for name, value in login(stack.kafka).items() if name != "bootstrap_servers"}))


def plan(stack: Settings) -> state.StackPlan:
    import msgspec

    return msgspec.json.decode((stack.home / state.PLAN_FILE).read_bytes(), type=state.StackPlan)


def test_the_mongo_server_lets_nobody_in_without_the_password(stack: Settings) -> None:
    parts = urlsplit(stack.mongo)
    for address in (f"mongodb://{parts.hostname}:{parts.port}", stack.mongo.replace(str(parts.password), "guessed")):
        with pymongo.MongoClient[dict[str, object]](address, serverSelectionTimeoutMS=1_000) as client:
            for ask in (
                lambda client=client: client.clearwell.list_collection_names(),
                lambda client=client: client.clearwell.events.insert_one({"_id": 1}),
                lambda client=client: client.admin.command("createUser", "eve", pwd="x", roles=["root"]),
            ):
                with pytest.raises(pymongo.errors.PyMongoError, match=r"(?i)auth"):
                    ask()
    with pymongo.MongoClient[dict[str, object]](stack.mongo) as client:
        assert [user["user"] for user in client.admin["system.users"].find()] == ["clearwell"]


def test_our_role_in_postgres_owns_its_database_and_nothing_else(stack: Settings) -> None:
    with psycopg.connect(superuser(stack)) as session:
        owned = session.execute("SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = datdba AND NOT rolsuper")
        assert ("clearwell",) in owned.fetchall()
    with psycopg.connect(stack.postgres, autocommit=True) as session:
        assert session.execute(
            "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchall() == [(False, False)]
        for statement in (
            "SELECT pg_read_file('/etc/passwd')",
            "COPY (SELECT 1) TO '/tmp/clearwell-was-here'",
            "COPY (SELECT 1) TO PROGRAM 'id'",
            "CREATE TEMP TABLE t (line text); COPY t FROM '/etc/passwd'",
            "SELECT rolpassword FROM pg_authid",
            "ALTER SYSTEM SET log_statement = 'all'",
            "ALTER ROLE clearwell SUPERUSER",
            "SET ROLE postgres",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)  # type: ignore[arg-type]
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(stack.postgres, dbname="postgres")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry for replication"):
        psycopg.connect(stack.postgres, replication="true")


def test_passwords_are_for_their_owner_alone(stack: Settings) -> None:
    """In files of mode 0600 alone: not in arguments, not in anybody's environment, not in logs."""
    secrets = [(stack.home / name).read_text() for name in PASSWORD_FILES]
    assert len({*secrets}) == len(secrets) and all(len(secret) == 48 for secret in secrets)
    found = state.read(stack.home)
    assert found is not None
    for process in [found.supervisor.process(), *(one.identity and one.identity.process() for one in found.processes)]:
        assert process is not None
        shown = [*process.cmdline(), *process.environ().values()]
        assert not any(secret in text for secret in secrets for text in shown)
    for file in [path for path in stack.home.rglob("*") if path.is_file() and not path.is_symlink()]:
        if file.parent.name == "logs":
            assert not any(secret.encode() in file.read_bytes() for secret in secrets), file
        if file.stat().st_size < 100_000 and any(secret.encode() in file.read_bytes() for secret in secrets):
            assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.skipif(psutil.Process().uids().real != 0, reason="only root has rights to drop")
def test_postgres_has_no_rights_of_roots(stack: Settings) -> None:
    found = state.read(stack.home)
    assert found is not None
    [server] = [one.identity for one in found.processes if one.name == "postgres"]
    assert server is not None
    for process in [psutil.Process(server.pid), *psutil.Process(server.pid).children()]:
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert [line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapPrm", "CapAmb"))] == [
            "0" * 16
        ] * 3
        assert process.uids().real not in (0, 65534), "nobody may be several"


@pytest.mark.skipif(psutil.Process().uids().real != 0, reason="only root can become somebody else")
def test_another_user_of_the_machine_sees_nothing_of_the_folder(stack: Settings) -> None:
    for command in (
        ["ls", str(stack.home)],
        ["cat", str(stack.home / "endpoints.json")],
        ["ls", str(stack.home / "postgres")],
    ):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command], capture_output=True, text=True
        )
        assert done.returncode != 0 and "Permission denied" in done.stderr


def test_credentials_prints_no_password(
    stack: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But files that hold it, by which psql, kcat and Python get in."""
    monkeypatch.setenv("CLEARWELL_HOME", str(stack.home))
    assert main(["credentials"]) == 0 and main(["credentials", "--json"]) == 0
    said = capsys.readouterr().out
    assert not any((stack.home / name).read_text() in said for name in PASSWORD_FILES)
    files = {path.name: path for path in (stack.home / "clients").iterdir()}
    assert all(str(path) in said and path.stat().st_mode & 0o077 == 0 for path in files.values())
    address = urlsplit(stack.postgres)
    with psycopg.connect(host=address.hostname, port=address.port, user=address.username, passfile=str(files["pgpass"]), dbname="clearwell") as session:  # fmt: skip # noqa: E501
        assert session.execute("SELECT 1").fetchall() == [(1,)]
    with pymongo.MongoClient[dict[str, object]](files["mongo.url"].read_text()) as client:
        client.get_default_database().list_collection_names()
    properties = dict(line.split("=", 1) for line in files["librdkafka.properties"].read_text().splitlines())
    from confluent_kafka.admin import AdminClient

    assert AdminClient(properties).list_topics(timeout=10).brokers
    assert clearwell.kafka_options()["sasl_plain_password"] == properties["sasl.password"]
