"""`clearwell feature apply`: what it shows, that it repeats without effect, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clearwell.errors import ConfigError
from clearwell.features.declared_views import DeclaredView, declared_views
from clearwell.features.entity_keys import parse_entity
from clearwell.settings import Settings
from tests.support.views import tell_feast

pytestmark = pytest.mark.slow

feast = pytest.importorskip("feast")
feast_registry = pytest.importorskip("clearwell.features.feast_registry")
feast_store = pytest.importorskip("clearwell.features.feast_store")

CONTRACT = """
stream: $stream
version: 1
owner: someone@example.com
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  leg: {type: string, required: true}
  number: {type: int64, required: true}
  at: {type: timestamp, required: true}
  delay: {type: int32}
routes:
  - to: features.$stream
    entity: {name: $stream_flight, keys: [leg, number]}
    features:
      last_delay: delay
"""
WINDOW = "      events_1d: {count: id, window: 1d, slide: 1h}\n"


def declare(folder: Path, stream: str, text: str = CONTRACT) -> DeclaredView:
    path = folder / stream / "v1.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("$stream", stream))
    (found,) = declared_views(folder)
    return found


@pytest.fixture
def here(stack: Settings, tmp_path: Path) -> Settings:
    return replace(stack, home=tmp_path, schemas=tmp_path / "schemas")


def test_apply_shows_what_differs_and_repeats_without_effect(
    here: Settings, unique: Callable[[str], str], tmp_path: Path
) -> None:
    name = unique("apply")
    first = declare(here.schemas, name)
    planned = feast_registry.plan_registry(here, [first], name)
    assert [(one.action, one.kind, one.name) for one in planned.changes] == [
        ("add", "entity", "leg"),
        ("add", "entity", "number"),
        ("add", "view", name),
    ]
    assert not (tmp_path / "feast").exists(), "a dry run writes nothing"
    assert tell_feast(here, [first], name).changes == planned.changes
    assert tell_feast(here, [first], name).changes == ()

    second = declare(here.schemas, name, CONTRACT + WINDOW)
    (change,) = tell_feast(here, [second], name).changes
    assert change.details == ("+ events_1d: int64, count of id over 1d, every 1h",)
    assert feast_registry.plan_registry(here, [second], name).changes == ()

    gone = tell_feast(here, [], name)
    assert {(one.action, one.name) for one in gone.changes} == {
        ("remove", "leg"),
        ("remove", "number"),
        ("remove", name),
    }
    assert tell_feast(here, [], name).changes == ()


def test_of_two_who_apply_at_once_one_is_told_what_has_moved(here: Settings, unique: Callable[[str], str]) -> None:
    name = unique("twice")
    declared = [declare(here.schemas, name)]
    plan = feast_registry.plan_registry(here, declared, name)
    feast_registry.apply_registry(here, declared, plan)
    with pytest.raises(ConfigError, match=f"no add view {name} now") as refused:
        feast_registry.apply_registry(here, declared, plan)
    assert refused.value.code == "plan_is_old"


def test_feasts_own_tools_open_the_file_that_apply_wrote(here: Settings, unique: Callable[[str], str]) -> None:
    name = unique("file")
    tell_feast(here, [declare(here.schemas, name)], name)
    file = here.home / "feast" / "feature_store.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    store = feast.FeatureStore(fs_yaml_file=file)
    assert [one.name for one in store.list_feature_views()] == [name]
    store.registry.write_engine.dispose()


def test_no_password_is_in_what_feast_prints_of_its_configuration(here: Settings, unique: Callable[[str], str]) -> None:
    name = unique("secret")
    tell_feast(here, [declare(here.schemas, name)], name)
    password = here.postgres.partition("://")[2].partition("@")[0].partition(":")[2]
    with feast_store.closing_store(here, name) as store:
        assert password
        assert password not in repr(store)
        assert password not in repr(store.config.online_store)


def test_a_view_that_a_feature_service_uses_is_not_removed(here: Settings, unique: Callable[[str], str]) -> None:
    name = unique("service")
    tell_feast(here, [declare(here.schemas, name)], name)
    with feast_store.closing_store(here, name) as store:
        view = store.get_feature_view(name)
        store.apply(feast.FeatureService(name="model", features=[view]))
    with pytest.raises(ConfigError, match='service "model" uses the view'):
        tell_feast(here, [], name)


def test_a_table_that_can_not_become_its_view_leaves_the_registry_as_it_was(
    here: Settings, unique: Callable[[str], str]
) -> None:
    name = unique("table")
    tell_feast(here, [declare(here.schemas, name)], name)
    changed = declare(here.schemas, name, CONTRACT.replace("delay: {type: int32}", "delay: {type: string}"))
    with pytest.raises(ConfigError):
        tell_feast(here, [changed], name)
    original = declare(here.schemas, name)
    assert feast_registry.plan_registry(here, [original], name).changes == ()


def test_an_entity_on_a_command_line(tmp_path: Path) -> None:
    view = declare(tmp_path, "lines").view
    assert parse_entity(view, "JFK,7") == ("JFK", 7)
    assert parse_entity(view, '"a,b",-7') == ("a,b", -7)
    for wrong in ("JFK", "JFK,7,8", "JFK,seven", "JFK,9223372036854775808", "JFK,"):
        with pytest.raises(ConfigError) as told:
            parse_entity(view, wrong)
        assert "seven" not in str(told.value)
