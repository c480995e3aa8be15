"""Which files of this machine a source may read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from clearwell.errors import ConfigError
from clearwell.file_roots import require_readable
from connectors.file.config import FileConfig
from connectors.file.source import FileSource
from connectors.file.stores import File, LocalStore
from connectors.sql.source import SqlSource, SqlSourceConfig


def refused(path: Path | str, **env: str) -> bool:
    try:
        require_readable(Path(path), env)
    except ConfigError:
        return True
    return False


def test_by_default_neither_the_systems_files_nor_hidden_ones(tmp_path: Path) -> None:
    home = {"CLEARWELL_HOME": str(tmp_path / "home")}
    for path in ("/etc/passwd", "/proc/self/environ", "/home/me/.ssh/id_rsa", tmp_path / ".aws" / "credentials"):
        assert refused(path, **home)
    assert not refused(tmp_path / "events.csv", **home)


def test_never_the_data_folder_whatever_the_list_says(tmp_path: Path) -> None:
    env = {"CLEARWELL_HOME": str(tmp_path / "home"), "CLEARWELL_FILE_ROOTS": "/"}
    (tmp_path / "link").symlink_to(tmp_path / "home" / "keys.json")
    for path in ("home/keys.json", "home", "other/../home/kafka/data/x.log", "link"):
        assert refused(tmp_path / path, **env)
    assert not refused("/etc/passwd", **env)
    assert not refused(tmp_path / "home" / "demo" / "flights.ndjson", **env)


def test_the_list(tmp_path: Path) -> None:
    env = {"CLEARWELL_HOME": str(tmp_path / "home"), "CLEARWELL_FILE_ROOTS": f"{tmp_path}/a:{tmp_path}/b"}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "out").symlink_to(tmp_path)
    assert not refused(tmp_path / "a" / "x", **env) and not refused(tmp_path / "b" / "x", **env)
    for path in ("x", "ab/x", "a/../x", "a/out/x"):
        assert refused(tmp_path / path, **env)


def test_a_source_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWELL_FILE_ROOTS", str(tmp_path / "in"))
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.ndjson").write_text('{"id": 1}\n')
    (tmp_path / "in" / "link.ndjson").symlink_to(tmp_path / "secret.ndjson")
    for path in (tmp_path / "secret.ndjson", tmp_path / "in" / "link.ndjson", f"FILE://{tmp_path}/secret.ndjson"):
        source = FileSource(msgspec.convert({"path": str(path), "id_field": "id"}, FileConfig))
        with pytest.raises(ConfigError, match="may not be read by sources"):
            source.check()


def test_a_link_turned_after_it_was_looked_at_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged again by where the open file is: a race wins nothing."""
    monkeypatch.setenv("CLEARWELL_FILE_ROOTS", str(tmp_path / "in"))
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    named = tmp_path / "in" / "file"
    named.write_text("harmless")
    store = LocalStore(named)
    assert store.find()
    named.unlink()
    named.symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="may not be read by sources"):
        store.open(File("file", str(named), 1, None))


def test_an_sqlite_file_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWELL_HOME", str(tmp_path))
    sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE t (id)")
    config = {"url": f"sqlite:///{tmp_path}/shop.db", "table": "t", "cursor": "id"}
    with pytest.raises(ConfigError, match="in the data folder"):
        SqlSource(msgspec.convert(config, SqlSourceConfig)).check()
