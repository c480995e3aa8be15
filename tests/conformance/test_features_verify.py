"""`clearwell feature verify`: nothing differs where nothing was tampered with; whatever was, is seen and told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier

from clearwell import settings as settings_module
from clearwell.cli.main import main
from clearwell.contract.feature_views import view_of, views_of
from clearwell.contract.features import FeatureView
from clearwell.contract.load import find
from clearwell.control.feature_changes import plan_refresh, refresh_view
from clearwell.control.platform import Actor, Platform
from clearwell.destinations.features.ddl import ROWS, TILES
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import read_online
from clearwell.errors import ConfigError
from clearwell.features.history import read_timelines
from clearwell.features.verify import Verification, verify
from clearwell.registry import audit
from clearwell.settings import Settings
from clearwell.steps import bind
from tests.support.visits import OPTIONS, SCHEMA, START, Row, deliver, rows_of, serving_since

LATER = datetime(2014, 1, 1, tzinfo=UTC)
HARMS = {
    "a tile": ('UPDATE {} SET "sum(n)" = "sum(n)" + 1 WHERE shop = \'a\'', TILES, {"n_sum"}),
    "a lost tile": ("DELETE FROM {} WHERE shop = 'a'", TILES, {"visits", "n_sum", "x_mean", "cost_max", "first_at"}),
    "a row": ("UPDATE {} SET last_n = coalesce(last_n, 0) + 1 WHERE shop = 'a'", ROWS, {"last_n"}),
    "a lost row": ("DELETE FROM {} WHERE shop = 'a' AND day = 0", ROWS, {"last_n", "visits", "n_kinds"}),
}


@pytest.fixture
def where(stack: Settings, tmp_path: Path) -> Settings:
    return replace(stack, offline=str(tmp_path / "offline"))


@pytest.fixture
def view(where: Settings, unique: Callable[[str], str]) -> Iterator[FeatureView]:
    """A view of out-of-order events, late ones among them, delivered in two ways."""
    made = view_of(SCHEMA, unique("view"), OPTIONS | {"lateness": "3h"})
    rows = rows_of(11, 800)
    for size in (64, 33):  # the second time by another group
        store = FeaturesDestination(where.postgres, SCHEMA, made, unique("group"), Folder.root(where))
        store.open()
        serving_since(where.postgres, store, START - timedelta(days=9))
        deliver(store, rows, range(800), size=size)
        store.close()
    yield made


def verified(where: Settings, view: FeatureView) -> Verification:
    return verify(where, view, sample=100, seed=1)


def test_what_is_served_is_what_history_says(where: Settings, view: FeatureView) -> None:
    found = verified(where, view)
    assert found.mismatches == []
    assert (found.entities, found.digest) == (4, view.digest())
    windows = [one for one in found.compared if one.feature.name == "visits"]
    assert len(windows) == 4 * 5  # now, right after the newest event, and at three instants of the past
    assert any(one.served for one in windows)


def test_events_of_equal_times_are_of_one_order_after_raw_was_made_again(
    where: Settings, unique: Callable[[str], str]
) -> None:
    view = view_of(SCHEMA, unique("view"), OPTIONS)
    rows: list[Row] = [(f"v{n}", START + timedelta(hours=n), "a", 1, n, 1.0, None) for n in range(3)]
    again: list[Row] = [(f"w{n}", START + timedelta(hours=n), "a", 1, 100 + n, 1.0, None) for n in range(3)]
    store = FeaturesDestination(where.postgres, SCHEMA, view, unique("group"), Folder.root(where))
    with closing(store):
        store.open()
        deliver(store, rows[:2], [500, 501])
        store_again = FeaturesDestination(where.postgres, SCHEMA, view, unique("group"), Folder.root(where))
        with closing(store_again):
            store_again.open()
            deliver(store_again, again, range(3), topic="raw-b")  # of lower offsets, and later
            mended = FeaturesDestination(where.postgres, SCHEMA, view, unique("group"), Folder.root(where))
            with closing(mended):
                mended.open()
                deliver(mended, rows[2:], [502])  # a dead letter of the former: it arrives last, and is older
    (served,) = read_online(where, view, [("a", 1)], LATER)
    assert served.values["last_n"] == 102
    found = verified(where, view)
    assert (found.mismatches, found.events) == ([], 6)
    (timeline,) = read_timelines(where, view, LATER).values()
    assert [timeline.at(START + timedelta(hours=n)).values["last_n"] for n in range(3)] == [100, 101, 102]


def test_what_windows_leave_out_is_told(
    where: Settings, people: str, unique: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the entity's own events, and of none before the view began."""
    schema = bind(find(settings_module.schemas_folder(), people)).schema
    (view,) = views_of(find(settings_module.schemas_folder(), people), schema)
    assert main(["features", "show", people]) == 0
    assert "Its windows leave nothing out." in capsys.readouterr().out
    store = FeaturesDestination(where.postgres, schema, view, unique("group"), Folder.root(where))
    with closing(store):
        serving_since(where.postgres, store, START)
        at = [
            START + timedelta(days=9),
            START + timedelta(days=1),
            START + timedelta(days=3),
            START - timedelta(days=1),
        ]
        who = ["canary", "other", "canary", "canary"]
        rows: list[Row] = [(f"l{n}", at[n], who[n], 7) for n in range(4)]
        deliver(store, rows, range(90, 94))
        assert store.late() == 1  # the third
    assert main(["features", "show", people, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["late"] == 1
    assert main(["features", "verify", people]) == 0
    told = capsys.readouterr().out
    assert "1 event came more than 1d after a newer one of the same entity: in no window" in told
    assert "online = offline" in told


@pytest.mark.parametrize("harm", HARMS)
def test_a_skew_is_seen_in_just_the_features_that_have_it(where: Settings, view: FeatureView, harm: str) -> None:
    statement, schema, features = HARMS[harm]
    _do(where, SQL(statement).format(Identifier(schema, view.name)))  # type: ignore[arg-type]
    found = verified(where, view)
    wrong = {one.feature.name for one in found.mismatches}
    assert wrong >= features
    if len(features) == 1:
        assert wrong == features
    assert {one.entity[0] for one in found.mismatches} == {"a"}


def test_a_view_that_has_no_events_is_told_of(where: Settings, view: FeatureView, unique: Callable[[str], str]) -> None:
    empty = replace(view, name=unique("view"))
    found = verified(where, empty)
    assert (found.entities, found.compared) == (0, [])


CONTRACT = """
stream: {stream}
version: 1
owner: tests@example.com
description: What people did.
key: id
event_id: id
event_time: at
fields:
  id: {{type: string, required: true}}
  at: {{type: timestamp, required: true}}
  who: {{type: string, required: true, privacy: pseudonym}}
  n: {{type: int64, required: true}}
routes:
  - to: features.{stream}
    entity: who
    features:
      last_n: n
      n_1h: {{sum: n, window: 1h}}
"""


@pytest.fixture
def people(
    where: Settings, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The name of a stream, and of its view, of one entity with an event a minute; commands find it."""
    stream = unique("people")
    file = tmp_path / "schemas" / stream / "v1.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(CONTRACT.format(stream=stream))
    for name, value in (("HOME", where.home), ("SCHEMAS", tmp_path / "schemas"), ("OFFLINE", where.offline)):
        monkeypatch.setenv(f"CLEARWELL_{name}", str(value))
    schema = bind(find(tmp_path / "schemas", stream)).schema
    (view,) = views_of(find(tmp_path / "schemas", stream), schema)
    rows: list[Row] = [(f"e{n}", START + timedelta(minutes=n), "canary", n) for n in range(90)]
    store = FeaturesDestination(where.postgres, schema, view, unique("group"), Folder.root(where))
    store.open()
    deliver(store, rows, range(90))
    store.close()
    yield stream


def test_the_command_hides_what_is_protected_and_ends_with_1(
    where: Settings, people: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "served.ndjson"
    assert main(["features", "verify", people, "--log", str(log)]) == 0
    assert "online = offline" in capsys.readouterr().out
    _do(where, SQL("UPDATE {} SET last_n = 7").format(Identifier(ROWS, people)))
    assert main(["features", "verify", people, "--json", "--seed", "1", "--log", str(log)]) == 1
    told = capsys.readouterr().out
    (last_n, n_1h) = json.loads(told)["features"]
    assert (last_n["compared"], last_n["mismatches"], n_1h["mismatches"]) == (2, 2, 0)
    assert (last_n["examples"][0]["served"], last_n["examples"][0]["computed"]) == (7, 89)
    assert last_n["examples"][0]["entity"] == {"who": "(protected)"}
    assert main(["features", "verify", people]) == 1
    told += capsys.readouterr().out + log.read_text()
    assert "served 7, but history says 89" in told
    assert "canary" not in told


def test_history_and_refresh_by_command(where: Settings, people: str, capsys: pytest.CaptureFixture[str]) -> None:
    end = "2013-01-01T01:00:00Z"
    assert main(["features", "history", people, "--entity", "canary", "--from", end, "--to", end, "--json"]) == 0
    (entity,) = json.loads(capsys.readouterr().out)["entities"]
    assert [one["values"] for one in entity["moments"]] == [{"last_n": 60, "n_1h": sum(range(60))}]
    assert main(["features", "history", people, "--entity", "nobody"]) == 0
    assert "no event of what was asked for" in capsys.readouterr().out
    assert main(["features", "history", people, "--from", end, "--to", "2012-01-01T00:00:00Z"]) == 2
    assert main(["features", "refresh", people, "--dry-run"]) == 0
    assert f"{people}: all of 2 files of events would be read" in capsys.readouterr().out
    assert (Folder.root(where) / people).names() == []
    assert main(["features", "refresh", people, "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)["views"]
    # Nulls, 90 events, and three edges of the hours' windows, one of which is an event too.
    assert (done["entities"], done["rows"]) == (1, 1 + 90 + 2)
    assert (done["changed"], done["new"], done["whole"]) == (1, 2, True)
    assert (Folder.root(where) / people).names() == ["features.parquet"]
    assert main(["features", "refresh", people, "--dry-run"]) == 0
    assert f"{people}: 0 new of 2 files of events would be read" in capsys.readouterr().out
    assert main(["features", "refresh", people, "--full", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["views"][0]["whole"]
    assert main(["features", "refresh", people]) == 0
    assert people in capsys.readouterr().out


def test_compact_by_command(where: Settings, people: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "compact", people, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert f"{people}: 2 of 2 files would become 1; 0 of 2 tiles, those before 2012-12-30 23:29:00 UTC, would" in out
    assert "looking at" in err
    assert main(["features", "compact", people, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is False
    assert [(one["removed"], one["added"], one["tiles"]) for one in told["views"]] == [(2, 1, 0)]
    assert main(["features", "compact", people]) == 0
    assert f"{people}: nothing to join; 0 tiles before 2012-12-30 23:29:00 UTC removed." in capsys.readouterr().out
    assert main(["features", "compact", f"{people}s"]) == 2
    assert f'Did you mean "{people}"' in capsys.readouterr().err
    assert main(["features", "verify", people]) == 0


def test_who_did_it_is_audited_and_an_old_plan_is_refused(where: Settings, people: str, tmp_path: Path) -> None:
    settings = replace(where, schemas=tmp_path / "schemas")
    with Platform(settings) as platform:
        (plan,) = plan_refresh(platform, [people])
        assert refresh_view(platform, Actor("anna", "test"), plan).rows > 0
        with platform.looking() as session:
            (entry,) = audit.entries(session, f"features/{people}")
        assert (entry.who, entry.face, entry.action, entry.detail["whole"]) == ("anna", "test", "refresh", True)
        file = tmp_path / "schemas" / people / "v1.yaml"
        file.write_text(file.read_text().replace("1h", "2h"))
        with pytest.raises(ConfigError, match=f'The view "{people}" has changed since this was planned') as refused:
            refresh_view(platform, Actor("bert", "test"), plan)
    assert refused.value.code == "plan_is_old"


def _do(where: Settings, statement: Composed) -> None:
    with psycopg.connect(where.postgres, autocommit=True) as session:
        assert session.execute(statement).rowcount > 0
