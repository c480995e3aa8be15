"""The local key file: who may read it, what is wrong with it, and that it never tells a secret."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clearwell.cli.main import main
from clearwell.control.keys import KeyChanged, apply, list_keys, plan_rotate
from clearwell.control.platform import Actor
from clearwell.errors import ConfigError
from clearwell.privacy import key_file
from clearwell.privacy.envelope import Sealer, draw_nonces, unseal
from clearwell.privacy.key_file import LocalKeyring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


def secrets_of(path: Path) -> list[str]:
    written = json.loads(path.read_text())
    return [written["pseudonym"], *(key["secret"] for key in written["keys"].values())]


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    keyring = LocalKeyring.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keyring.seal_key("anyone").id == "local-1"
    assert keyring.open_key("local-1") == keyring.seal_key(None)
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]
    assert LocalKeyring(path).pseudonym_key("s") == keyring.pseudonym_key("s")
    assert keyring.pseudonym_key("s") != keyring.pseudonym_key("t")
    with pytest.raises(KeyError):
        keyring.open_key("local-2")


def test_a_file_that_is_there_is_never_overwritten(path: Path) -> None:
    LocalKeyring.create(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="already; it is not touched"):
        LocalKeyring.create(path)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_rotation_seals_with_the_new_key_and_opens_with_the_old(path: Path) -> None:
    old = LocalKeyring.create(path)
    envelope = Sealer(old.seal_key(None), "s").seal("f", "1", b"x", next(draw_nonces(1)))
    new = LocalKeyring.rotate(path)
    assert new.seal_key(None).id == "local-2"
    assert unseal(new, "s", "f", "1", envelope) == b"x"
    assert new.pseudonym_key("s") == old.pseudonym_key("s")
    assert [(one.id, one.active) for one in new.infos()] == [("local-1", False), ("local-2", True)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_running_process_opens_what_a_newer_key_sealed(path: Path) -> None:
    running = LocalKeyring.create(path)
    new = LocalKeyring.rotate(path)
    envelope = Sealer(new.seal_key(None), "s").seal("f", "1", b"x", next(draw_nonces(1)))
    assert unseal(running, "s", "f", "1", envelope) == b"x"


def test_rotations_at_once_lose_no_key(path: Path) -> None:
    LocalKeyring.create(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: LocalKeyring.rotate(path), range(8)))
    assert [one.id for one in LocalKeyring(path).infos()] == [f"local-{number}" for number in range(1, 10)]


def test_creations_at_once_have_one_winner(path: Path) -> None:
    def create(_: int) -> bool:
        try:
            LocalKeyring.create(path)
        except ConfigError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
    assert len(LocalKeyring(path).infos()) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o666])
def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    LocalKeyring.create(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="can be read by others"):
        LocalKeyring(path)


def test_a_missing_file_says_what_to_do(path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no key file at "):
        LocalKeyring(path)
    with pytest.raises(ConfigError, match="There is no folder"):
        LocalKeyring.rotate(path)
    path.parent.mkdir(parents=True)
    with pytest.raises(ConfigError, match="There is no key file"):
        LocalKeyring.rotate(path)
    with pytest.raises(ConfigError, match="can't be read"):
        LocalKeyring(path.parent)


def test_a_running_process_seals_with_the_new_key_after_a_rotation_elsewhere(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = LocalKeyring.create(path)
    before = running.pseudonym_key("flights")
    LocalKeyring.rotate(path)
    assert running.seal_key(None).id == "local-1"  # no look at the file for each batch
    monkeypatch.setattr(key_file, "LOOK_EVERY", 0.0)
    assert running.seal_key(None).id == "local-2"
    assert running.open_key("local-1").id == "local-1"
    assert running.pseudonym_key("flights") == before


def test_a_running_process_stops_when_the_file_has_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_file, "LOOK_EVERY", 0.0)
    running = LocalKeyring.create(path)
    path.unlink()
    for _ in range(2):  # and it stays so
        with pytest.raises(ConfigError, match="There is no key file"):
            running.seal_key(None)


DAMAGE: dict[str, Any] = {
    "no json": lambda written: None,
    "unknown key": lambda written: written | {"canary": "canary"},
    "no keys": lambda written: written | {"keys": {}},
    "active is gone": lambda written: written | {"active": "canary"},
    "other format": lambda written: written | {"format": "canary"},
    "short secret": lambda written: written | {"keys": {"local-1": {"created": "x", "secret": "Y2FuYXJ5"}}},
    "no base64": lambda written: written | {"pseudonym": "canary!"},
    "wrong id": lambda written: {**written, "active": "a.b", "keys": {"a.b": written["keys"]["local-1"]}},
    "wrong type": lambda written: written | {"keys": "canary"},
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_refused_without_quoting_it(path: Path, how: str) -> None:
    LocalKeyring.create(path)
    written = DAMAGE[how](json.loads(path.read_text()))
    path.write_text('{"format": "canary' if written is None else json.dumps(written))
    with pytest.raises(ConfigError, match=r"is damaged .*restore it from your backup") as caught:
        LocalKeyring(path)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 1, 50, 200])
def test_a_torn_file_is_refused(path: Path, size: int) -> None:
    LocalKeyring.create(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ConfigError, match="is damaged"):
        LocalKeyring(path)


def test_of_two_who_rotate_one_is_told(path: Path) -> None:
    LocalKeyring.create(path)
    me, plans = Actor("me", "test"), [plan_rotate(path), plan_rotate(path)]
    assert apply(None, me, plans[0]) == KeyChanged(file=str(path), active="local-2", audited=False)
    with pytest.raises(ConfigError, match='"local-2" seals, not "local-1"') as refused:
        apply(None, me, plans[1])
    assert refused.value.code == "plan_is_old" and len(list_keys(path)) == 2


def test_no_secret_is_ever_shown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(path)
    for args in (["create"], ["rotate"], ["list"], ["list", "--json"], ["rotate", "--json"], ["create"]):
        main(["keys", *args, "--file", file])
    out = capsys.readouterr()
    keyring = LocalKeyring(path)
    shown = out.out + out.err + repr(keyring) + str(keyring) + repr(keyring.infos()) + repr(keyring.seal_key(None))
    assert "local-3" in shown
    assert not [secret for secret in secrets_of(path) if secret in shown]


def test_commands(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(path)
    assert main(["keys", "create", "--file", file, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": file, "active": "local-1", "dry_run": True}
    assert not path.exists()
    assert main(["keys", "list", "--file", file]) == 2
    assert "There is no key file" in capsys.readouterr().err
    assert main(["keys", "create", "--file", file]) == 0
    assert main(["keys", "create", "--file", file, "--dry-run"]) == 2
    assert main(["keys", "rotate", "--file", file, "--dry-run"]) == 0
    assert 'would be rotated; "local-2" seals.' in capsys.readouterr().out
    assert len(LocalKeyring(path).infos()) == 1
    assert main(["keys", "rotate", "--file", file]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--file", file, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert [(one["id"], one["active"]) for one in listed] == [("local-1", False), ("local-2", True)]
