"""The registry on a real Postgres: migrations, guarded positions, specifications, and what the commands say."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from clearwell.errors import ConfigError, Fenced, Retryable
from clearwell.registry import Registry, State, audit, connectors, migrate, positions, subscriptions
from clearwell.registry.models import SCHEMA, Base
from clearwell.registry.positions import Counts
from clearwell.registry.subscriptions import RegisteredSubscription
from clearwell.settings import Settings

Unique = Callable[[str], str]


def name_in(spec: Path) -> str:
    """The connector's name in a specification."""
    return spec.read_text().splitlines()[0].removeprefix("name: ")


def test_migrations_from_many_processes_at_once_make_what_the_models_say(stack: Settings) -> None:
    with psycopg.connect(stack.postgres, autocommit=True) as connection:
        fresh = "clearwell_registry_test"
        connection.execute(f"drop database if exists {fresh} with (force)")  # type: ignore[arg-type]
        connection.execute(f"create database {fresh}")  # type: ignore[arg-type]
    address = stack.postgres.rsplit("/", 1)[0] + "/" + fresh
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, [address] * 4))
    with closing(Registry(address)) as registry, registry.connection() as connection:
        options = {
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "include_name": lambda name, kind, _: name == SCHEMA if kind == "schema" else True,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_a_position_moves_only_from_the_version_it_was_read_at(registry: Registry, unique: Unique) -> None:
    name = unique("c")
    with registry.session() as session:
        connectors.add(session, name, "file", "flights", {"path": "x"})
        assert positions.load(session, name).position is None
    with registry.session() as session:
        assert positions.save(session, name, 0, {"offset": 10}, Counts(5)) == 1
        assert positions.save(session, name, 1, {"offset": 20}, Counts(7, 1)) == 2
    with pytest.raises(Fenced, match="another collector or a person"), registry.session() as session:
        positions.save(session, name, 1, {"offset": 99}, Counts(1))
    with registry.session() as session:
        saved = positions.load(session, name)
        assert (saved.version, saved.position, saved.events) == (2, {"offset": 20}, 12)
        assert saved.counts == Counts(12, 1), "a source that did not count once has no account of its own"
        positions.move(session, name, 2, None)
        session.expire_all()
        assert (positions.load(session, name).counts, positions.load(session, name).whole) == (Counts(read=0), True)
        positions.move(session, name, 3, {"offset": 5})
        session.expire_all()
        assert not positions.load(session, name).whole
        connectors.remove(session, name)
    with pytest.raises(Fenced, match="removed"), registry.session() as session:
        positions.load(session, name)


def test_two_savers_of_one_version_make_one_save(registry: Registry, unique: Unique) -> None:
    name = unique("c")
    with registry.session() as session:
        connectors.add(session, name, "file", "flights", {})

    def save(offset: int) -> bool:
        try:
            with registry.session() as session:
                positions.save(session, name, 0, {"offset": offset}, Counts(1))
        except Fenced:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(save, range(8))) == 1


def test_what_a_collector_notes_never_overrules_a_person(registry: Registry, unique: Unique) -> None:
    name = unique("c")
    with registry.session() as session:
        connectors.add(session, name, "file", "flights", {})
        connectors.set_state(session, name, State.PAUSED, "pause")
        connectors.note_end(session, name, State.FINISHED)
        session.expire_all()
        assert connectors.get(session, name).state is State.PAUSED
        connectors.set_state(session, name, State.RUNNING, "resume")
        connectors.note_end(session, name, State.FAILING, "broken\0 \ud800")
        session.expire_all()
        assert connectors.get(session, name).last_error == "broken \\ud800"


def test_a_subscription_is_kept_under_its_name_once(registry: Registry, unique: Unique) -> None:
    name = unique("model")
    subscription = RegisteredSubscription(name, "flights", 1, ("id", "carrier"), "delays")
    with registry.session() as session:
        assert subscriptions.add(session, subscription)
        assert not subscriptions.add(session, replace(subscription, fields=("id",)))
        stored = subscriptions.get(session, name)
        assert stored == replace(subscription, created_at=stored.created_at)
        assert stored in subscriptions.list_subscriptions(session)
    with registry.session() as session:
        subscriptions.remove(session, name)
    with pytest.raises(ConfigError, match="no subscription"), registry.session() as session:
        subscriptions.get(session, name)


def test_a_missing_server_wrong_password_or_empty_database_is_one_sentence(stack: Settings) -> None:
    def ask(address: str) -> None:
        registry = Registry(address)
        try:
            with registry.session() as session:
                connectors.list_connectors(session)
        finally:
            registry.close()

    with pytest.raises(Retryable, match=r"postgresql://127\.0\.0\.1:1/x did not answer") as missing:
        ask("postgresql://someone:pass-w0rd@127.0.0.1:1/x")
    assert "someone" not in str(missing.value) and "pass-w0rd" not in str(missing.value)
    head, tail = stack.postgres.rsplit("@", 1)
    with pytest.raises(ConfigError, match="refused the connection"):
        ask(head.rsplit(":", 1)[0] + ":wr0ng-password@" + tail)
    with pytest.raises(ConfigError, match="refused the connection"):
        ask(stack.postgres + "_not_there")
    beside = stack.postgres.rsplit("/", 1)[0]
    with pytest.raises(ConfigError, match="refused the connection"):
        ask(f"{beside}/template1")  # which nobody but the superuser may connect to
    with psycopg.connect(stack.postgres, autocommit=True) as connection:
        connection.execute("drop database if exists clearwell_registry_empty with (force)")
        connection.execute("create database clearwell_registry_empty")
    with pytest.raises(ConfigError, match="not set up"):
        ask(f"{beside}/clearwell_registry_empty")
    with pytest.raises(ConfigError, match="no postgresql:// URL"):
        Registry("nonsense")


def test_register_checks_stores_and_is_idempotent(
    run: Callable[..., int], registry: Registry, spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def register(*options: str) -> dict[str, object]:
        assert run("connector", "register", spec, "--json", *options) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    name = name_in(spec)
    planned = register("--dry-run")
    assert (planned["outcome"], planned["dry_run"]) == ("registered", True)
    assert planned["streams"] == [{"name": "events", "fields": {"id": "string", "n": "int64"}}]
    with registry.session() as session:
        assert connectors.find(session, name) is None
    assert register()["outcome"] == "registered"
    assert register()["outcome"] == "unchanged"
    with registry.session() as session:
        stored = connectors.get(session, name)
        positions.save(session, name, 0, {"file": "events.ndjson", "offset": 17}, Counts(1))
    assert stored.config == {"path": str(spec.parent / "events.ndjson")}
    spec.write_text(spec.read_text() + "  id_field: id\n")
    assert register("--dry-run")["differences"] == ['config.id_field: (not set) → "id"']
    changed = register()
    assert (changed["outcome"], changed["differences"]) == ("changed", ['config.id_field: (not set) → "id"'])
    with registry.session() as session:
        assert positions.load(session, name).events == 1
        told = [(entry.who, entry.action) for entry in audit.entries(session, f"connector/{name}")]
    assert told == [("tester", "change"), ("tester", "register")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("source: file", "source: fiel"), 'no kind of source "fiel". Did you mean "file"?'),
        (("stream: flights", "stream: flihgts"), 'Did you mean "flights"?'),
        (("stream:", "steam:"), 'no key "steam". Did you mean "stream"?'),
        (("  path:", "  paht:"), 'no key "paht". Did you mean "path"?'),
        (("path: events.ndjson", "path: missing.ndjson"), "missing.ndjson does not exist"),
        (("path: events.ndjson", "path: 7"), "Expected `str`, got `int` - at `path`"),
        (("path: events.ndjson", 'path: "${env:NOT_SET_AT_ALL}"'), "NOT_SET_AT_ALL is not set"),
        (("path: events.ndjson", 'path: "${file:/not/there}"'), "${file:/not/there}, which cannot be read"),
        (("name: ", "name: BAD NAME "), "Expected `str` matching regex"),
        (("config:", "config: ["), "this is not YAML"),
        (("name: ", "- name: "), "this is not YAML"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_wrong_specification_is_one_clear_sentence(
    run: Callable[..., int], spec: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], said: str
) -> None:
    spec.write_text(spec.read_text().replace(*change))
    assert run("connector", "register", spec) == 2
    out, err = capsys.readouterr()
    assert said in err and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err


def test_a_file_that_is_no_specification_is_one_clear_sentence(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\x00" * 50)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("binary", "empty", "missing"):
        assert run("connector", "register", tmp_path / name) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_values_of_references_stay_out_of_registry_and_messages(
    run: Callable[..., int],
    registry: Registry,
    spec: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANARY", "canary-5e1f")
    spec.write_text(spec.read_text().replace("events.ndjson", "${env:CANARY}/events.ndjson"))
    assert run("connector", "register", spec) == 2
    assert "canary-5e1f" not in "".join(capsys.readouterr())
    monkeypatch.setenv("CANARY", str(spec.parent))
    assert run("connector", "register", spec) == 0
    assert run("connector", "show", name_in(spec), "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["config"] == {"path": "${env:CANARY}/events.ndjson"}


def test_the_commands_change_and_show_the_state(
    run: Callable[..., int], spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = name_in(spec)
    assert run("connector", "register", spec) == 0
    for command, state in (("pause", "paused"), ("resume", "running")):
        assert run("connector", command, name) == 0
        capsys.readouterr()
        assert run("connector", "list", "--json") == 0
        rows = json.loads(capsys.readouterr().out)["connectors"]
        assert [row["state"] for row in rows if row["name"] == name] == [state]
    assert run("connector", "show", name) == 0
    assert name in capsys.readouterr().out
    assert run("connector", "show", name[:-1]) == 2
    assert f'Did you mean "{name}"?' in capsys.readouterr().err
    assert run("connector", "remove", name) == 0
    assert run("connector", "show", name) == 2
