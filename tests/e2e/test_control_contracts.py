"""Publishing contracts: what becomes of their jobs, of two who publish at once, and of what is retired."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete

from clearwell.control import contract_publication, contract_retirement
from clearwell.control.connector_registration import plan_registration, register
from clearwell.control.connector_spec import ConnectorSpec
from clearwell.control.contract_judgement import Outcome
from clearwell.control.contract_publication import Publication, plan_publish
from clearwell.control.contract_retirement import plan_retire
from clearwell.control.platform import Actor, Platform
from clearwell.control.published_contracts import current_contracts, published_contract
from clearwell.control.schemas_publication import apply_schemas, plan_schemas
from clearwell.errors import ConfigError, ContractError, Hint
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, raw_topic
from clearwell.registry import Registry, audit, connectors, contracts, jobs
from clearwell.registry.connectors import State
from clearwell.registry.jobs import WantedState
from clearwell.registry.models import ContractRow, JobRow
from clearwell.settings import Settings
from clearwell.testing.contracts import minimal_text
from tests.support.at_once import refused_at_once

ANNA = Actor("anna", "api", "the new fleet")
POSTGRES = "  - {to: postgres, table: %s}\n"
MONGO = "  - {to: mongo, collection: %s}\n"


class Folder:
    """A schemas folder, and a stream in it that nobody else has."""

    def __init__(self, platform: Platform, path: Path, stream: str) -> None:
        self.platform = platform
        self.path = path
        self.stream = stream

    def write(self, *routes: str, version: int = 1, **changed: str) -> Path:
        path = self.path / self.stream / f"v{version}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        written = "routes:\n" + "".join(route % self.stream for route in routes) if routes else ""
        path.write_text(minimal_text(written, stream=self.stream, version=str(version), **changed))
        return path

    def plan(self, *files: Path, minor: bool = False) -> Publication:
        return plan_publish(self.platform, files, minor=minor)

    def publish(self, *files: Path, minor: bool = False) -> Publication:
        plan = self.plan(*files, minor=minor)
        contract_publication.apply(self.platform, ANNA, plan)
        return plan

    def jobs(self) -> dict[str, WantedState]:
        """Each job of the stream by what it is, and what is wanted of it."""
        with self.platform.looking() as session:
            known = jobs.list_jobs(session, self.stream)
        return {job.spec.name.replace(f".{self.stream}", ""): job.wanted for job in known}

    def running(self) -> set[str]:
        return {name for name, wanted in self.jobs().items() if wanted is WantedState.RUNNING}


@pytest.fixture
def folder(stack: Settings, registry: Registry, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Folder]:
    stream = unique("published")
    with Platform(stack) as platform:
        yield Folder(platform, tmp_path, stream)
    with registry.session() as session:
        session.execute(delete(ContractRow).where(ContractRow.stream == stream))
        session.execute(delete(JobRow).where(JobRow.stream == stream))
    topics = [clean_topic(stream, version) for version in (1, 2)]
    admin.delete_topics(stack.kafka, [raw_topic(stream), f"dead.{stream}", f"dropped.{stream}", *topics])


def outcomes(plan: Publication) -> list[tuple[int, int, Outcome]]:
    return [(planned.version, planned.revision, planned.outcome) for planned in plan.contracts]


def test_a_published_contract_has_topics_jobs_and_an_audit(folder: Folder, stack: Settings) -> None:
    plan = folder.plan(folder.write(POSTGRES))
    assert folder.jobs() == {}
    contract_publication.apply(folder.platform, ANNA, plan)
    assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.postgres"}
    assert admin.require_topics(stack.kafka, folder.stream, 1)
    assert published_contract(folder.platform, folder.stream).routes[0].to == "postgres"
    with folder.platform.looking() as session:
        (entry,) = audit.entries(session, contracts.target(folder.stream, 1))
    assert (entry.who, entry.face, entry.reason, entry.action) == (ANNA.name, ANNA.face, ANNA.reason, "publish")
    assert entry.detail["digest"] == plan.contracts[0].digest
    assert outcomes(folder.publish(folder.path / folder.stream / "v1.yaml")) == [(1, 0, Outcome.UNCHANGED)]


def test_a_route_taken_out_ends_its_deliverer_and_one_put_in_makes_one(folder: Folder) -> None:
    folder.publish(folder.write(POSTGRES))
    changed = folder.write(MONGO)
    assert outcomes(folder.publish(changed)) == [(1, 0, Outcome.REFUSED)]
    assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.postgres"}
    assert outcomes(folder.publish(changed, minor=True)) == [(1, 1, Outcome.NEW_REVISION)]
    assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.mongo"}
    assert folder.jobs()["deliverer.v1.postgres"] is WantedState.ENDED


def test_the_newest_version_alone_has_jobs_however_many_come_at_once(folder: Folder) -> None:
    first, second = folder.write(POSTGRES), folder.write(POSTGRES, version=2)
    plan = folder.publish(second, first)
    assert outcomes(plan) == [(1, 0, Outcome.NEW_VERSION), (2, 0, Outcome.NEW_VERSION)]
    assert folder.jobs().keys() == {"cleaner.v2", "dead_letters", "deliverer.v2.postgres"}
    assert outcomes(folder.publish(first, second)) == [(1, 0, Outcome.UNCHANGED), (2, 0, Outcome.UNCHANGED)]


def test_of_two_who_publish_at_once_one_wins_and_the_other_is_told(folder: Folder) -> None:
    ours, theirs = folder.plan(folder.write()), folder.plan(folder.write(POSTGRES))
    apply = contract_publication.apply
    acts = [partial(apply, folder.platform, ANNA, plan) for plan in (ours, theirs)]
    assert refused_at_once(*acts) == ["plan_is_old"]
    with folder.platform.looking() as session:
        (published,) = contracts.revisions(session, folder.stream)
    assert published.digest in {ours.contracts[0].digest, theirs.contracts[0].digest}
    has_route = "deliverer.v1.postgres" in folder.running()
    assert has_route is (published.digest == theirs.contracts[0].digest)


def test_one_broken_file_refuses_itself_alone(folder: Folder) -> None:
    broken = folder.path / f"{folder.stream}_broken" / "v1.yaml"
    broken.parent.mkdir()
    broken.write_text("stream: [")
    plan = folder.publish(broken, folder.write())
    assert [planned.outcome for planned in plan.contracts] == [Outcome.NEW_VERSION, Outcome.REFUSED]
    assert folder.running() == {"cleaner.v1", "dead_letters"}


def test_a_table_of_another_stream_and_a_store_that_nobody_registered_are_told(
    folder: Folder, unique: Callable[[str], str], registry: Registry
) -> None:
    folder.publish(folder.write(POSTGRES))
    other = folder.path / f"{folder.stream}_too" / "v1.yaml"
    other.parent.mkdir()
    routes = f"routes:\n  - {{to: postgres, table: {folder.stream}}}\n"
    other.write_text(minimal_text(routes, stream=other.parent.name))
    (refused,) = folder.plan(other).contracts
    assert f'"{folder.stream}" in postgres holds the stream "{folder.stream}" already' in str(refused.refusal)
    store = unique("nowhere")
    other.write_text(minimal_text(f"routes:\n  - {{to: postgres.{store}}}\n", stream=other.parent.name))
    (planned,) = folder.plan(other).contracts
    assert planned.warnings == (f"postgres.{store} is not registered: its deliverer waits until it is.",)


def test_retired_is_ended_and_published_again_goes_on(folder: Folder, stack: Settings) -> None:
    file = folder.write(POSTGRES)
    folder.publish(file)
    plan = plan_retire(folder.platform, folder.stream)
    assert sorted(job.name.split(".")[0] for job in plan.ending) == ["cleaner", "dead_letters", "deliverer"]
    assert {job.waiting for job in plan.ending} == {0}
    contract_retirement.apply(folder.platform, ANNA, plan)
    assert folder.running() == set()
    assert folder.stream not in {contract.stream for contract in current_contracts(folder.platform)}
    with pytest.raises(ConfigError, match="is retired: nothing reads") as again:
        plan_retire(folder.platform, folder.stream)
    assert again.value.code == "not_published"
    with pytest.raises(ConfigError) as old:
        contract_retirement.apply(folder.platform, ANNA, plan)
    assert old.value.code == "plan_is_old"
    assert admin.require_topics(stack.kafka, folder.stream, 1)
    assert outcomes(folder.publish(file)) == [(1, 0, Outcome.RESTORED)]
    assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.postgres"}


def test_a_version_taken_back_lets_the_one_before_go_on(folder: Folder) -> None:
    folder.publish(folder.write(POSTGRES), folder.write(POSTGRES, version=2))
    plan = plan_retire(folder.platform, folder.stream, 2)
    assert (plan.versions, plan.next_version) == ([2], 1)
    contract_retirement.apply(folder.platform, ANNA, plan)
    assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.postgres"}


def test_a_stream_that_is_filled_is_not_retired(folder: Folder, registry: Registry) -> None:
    folder.publish(folder.write())
    plan = plan_retire(folder.platform, folder.stream)
    with registry.session() as session:
        connectors.add(session, f"{folder.stream}-c", "file", folder.stream, {})
    for act in (
        lambda: plan_retire(folder.platform, folder.stream),
        lambda: contract_retirement.apply(folder.platform, ANNA, plan),
    ):
        with pytest.raises(ConfigError, match="which nothing would clean any more") as refused:
            act()
        assert (refused.value.code, refused.value.hint) == (
            "stream_in_use",
            Hint("connectors.pause", f"{folder.stream}-c"),
        )


def test_what_a_newer_release_has_published_is_an_error_of_its_stream_alone(folder: Folder) -> None:
    text = folder.write().read_text() + "from_a_newer_release: true\n"
    with folder.platform.changing(ANNA) as session:
        contracts.publish(session, folder.stream, 1, 0, text)
    with pytest.raises(ContractError, match=f'{folder.stream} v1 .published.:.*"from_a_newer_release"'):
        published_contract(folder.platform, folder.stream)
    assert folder.stream not in {contract.stream for contract in current_contracts(folder.platform)}


def test_the_commands_publish_tell_differences_and_retire(
    folder: Folder, run: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder.write()

    def said(*args: str, code: int = 0) -> str:
        assert run("contract", *args) == code
        shown = capsys.readouterr()
        return shown.out + shown.err

    assert "would be published (new version, " in said("publish", str(file), "--dry-run")
    assert folder.jobs() == {}
    assert f"{folder.stream} v1: published (new version, " in said("publish", str(file))
    folder.write(POSTGRES)
    assert f"`clearwell contract publish {file} --minor` publishes it" in said("publish", str(file), code=2)
    (refused,) = json.loads(said("publish", str(file), "--json", code=2))["contracts"]
    assert (refused["outcome"], refused["code"]) == ("refused", "contract_changed")
    assert refused["changed_lines"] == ["+routes:", f"+  - {{to: postgres, table: {folder.stream}}}"]
    assert f"{folder.stream} v1.1: published (new revision, " in said("publish", str(file), "--minor")
    folder.write(MONGO)
    assert ", the file differs\n" in said("show", str(file))
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(folder.path))
    (listed,) = json.loads(said("list", "--json"))["contracts"]
    assert (listed["published"]["revision"], listed["published"]["differs"]) == (1, True)
    folder.write(POSTGRES)
    file.rename(file.with_name("elsewhere"))
    assert "v1.1" in said("list") and ", no file\n" in said("list")
    file.with_name("elsewhere").rename(file)
    retired = said("retire", folder.stream)
    assert f"  deliverer.{folder.stream}.v1.postgres ends; 0 events wait for it." in retired
    assert folder.running() == set()
    assert "restored" in said("publish", str(file))


def test_the_schemas_folder_publishes_what_is_new_and_leaves_the_rest_to_a_person(folder: Folder) -> None:
    good, changed, broken = (f"{folder.stream}{name}" for name in ("", "_changed", "_broken"))
    file = folder.write(POSTGRES)
    for stream in (changed, broken):
        (folder.path / stream).mkdir()
        (folder.path / stream / "v1.yaml").write_text(minimal_text(stream=stream))
    folder.publish(folder.path / changed / "v1.yaml")
    (folder.path / changed / "v1.yaml").write_text(minimal_text("# a word\n", stream=changed))
    (folder.path / broken / "v1.yaml").write_text("stream: [")
    platform = Platform(replace(folder.platform.settings, schemas=folder.path))
    plan = plan_schemas(platform)
    assert folder.jobs() == {}
    done = apply_schemas(platform, ANNA, plan)
    assert {planned.stream: planned.outcome for planned in done.contracts} == {
        good: Outcome.NEW_VERSION,
        changed: Outcome.REFUSED,
        broken: Outcome.REFUSED,
    }
    assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.postgres"}
    contract_retirement.apply(platform, ANNA, plan_retire(platform, good))
    apply_schemas(platform, ANNA, plan_schemas(platform))
    assert folder.running() == set()
    folder.publish(file)
    with platform.changing(ANNA) as session:
        contracts.forget(session, changed)
        jobs.forget(session, jobs.end(session, changed))
    platform.close()


def test_a_connector_brings_its_contract_along(folder: Folder, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_bytes(b'{"id":"a"}\n')
    config = {"path": str(tmp_path / "events.ndjson")}
    spec = ConnectorSpec(name=f"{folder.stream}-c", source="file", stream=folder.stream, config=config)
    with Platform(replace(folder.platform.settings, schemas=folder.path)) as platform:
        with pytest.raises(ConfigError) as missing:
            plan_registration(platform, spec)
        assert missing.value.code == "no_contract"
        file = folder.write(POSTGRES)
        plan = plan_registration(platform, spec)
        assert folder.jobs() == {}
        register(platform, ANNA, plan)
        assert folder.running() == {"cleaner.v1", "dead_letters", "deliverer.v1.postgres"}
        file.write_text("stream: [")
        again = plan_registration(platform, spec)
        assert [planned.file for planned in again.publication.refused] == [str(file)]
        file.unlink()
        assert plan_registration(platform, spec).outcome == "unchanged"
        with platform.changing(ANNA) as session:
            connectors.set_state(session, spec.name, State.PAUSED, "pause")
        contract_retirement.apply(platform, ANNA, plan_retire(platform, folder.stream))
        with pytest.raises(ConfigError) as retired:
            plan_registration(platform, spec)
        assert (retired.value.code, retired.value.hint) == ("not_published", Hint("contracts.publish", folder.stream))
