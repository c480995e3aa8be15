"""The parts of the embedded stack that need no server: pins, the cache of jars, ports, states, log files."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.local import child, jars, pins, state, stop
from clearwell.local.logs import append, last_message
from clearwell.local.passwords import password, write_private
from clearwell.local.pins import Jar, Pins
from clearwell.local.ports import Ports, changes, choose
from clearwell.local.servers import SERVER_KINDS, plan_servers
from clearwell.local.start import require_private
from clearwell.local.state import StackPlan
from clearwell.settings import SERVERS, Endpoints
from tests.support.processes import killed_at_end

CONTENT = {"one-1.jar": b"first jar", "two-2.jar": b"second jar", "three-3.jar": b"third jar"}


def pin(name: str, content: bytes) -> Jar:
    artifact, _, version = name.removesuffix(".jar").partition("-")
    return Jar(f"org.example:{artifact}:{version}", hashlib.sha256(content).hexdigest(), len(content))


PINS = Pins(tuple(pin(name, content) for name, content in CONTENT.items()))


class Registry:
    """Stands in for the download of one jar; `broken` names a jar that arrives in half, then the network goes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = ""
        self.forged = ""

    def download(self, jar: Jar, incoming: Path, seen: Callable[[int], None]) -> None:
        self.asked.append(jar.file_name)
        incoming.mkdir(parents=True, exist_ok=True)
        content = CONTENT[jar.file_name]
        target = incoming / jar.file_name
        if jar.file_name == self.broken:
            target.write_bytes(content[:4])
            raise Retryable("the network is gone")
        target.write_bytes(content[::-1] if jar.file_name == self.forged else content)
        seen(len(content))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()
    monkeypatch.setattr(jars, "_download", registry.download)
    return registry


def quiet(_what: str, _done: int, _total: int) -> None:
    return None


def test_an_interrupted_download_is_never_used_and_goes_on(registry: Registry, tmp_path: Path) -> None:
    registry.broken = "two-2.jar"
    with pytest.raises(Retryable):
        jars.fetch(PINS, quiet, tmp_path)
    assert sorted(path.name for path in (tmp_path / "jars").iterdir()) == ["one-1.jar"]

    registry.broken = ""
    found = jars.fetch(PINS, quiet, tmp_path)
    assert {path.name: path.read_bytes() for path in found} == CONTENT
    assert registry.asked == ["one-1.jar", "two-2.jar", "two-2.jar", "three-3.jar"]

    assert jars.fetch(PINS, quiet, tmp_path) == found
    assert len(registry.asked) == 4


def test_the_download_tells_how_far_it_is(registry: Registry, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    jars.fetch(PINS, lambda _what, done, total: seen.append((done, total)), tmp_path)
    total = sum(len(content) for content in CONTENT.values())
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_a_jar_that_is_not_the_pinned_one_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.forged = "one-1.jar"
    with pytest.raises(Fatal, match=r"org\.example:one:1 is not the pinned file"):
        jars.fetch(PINS, quiet, tmp_path)
    assert not list((tmp_path / "jars").iterdir())


def test_a_cache_that_cannot_be_written_is_told(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="CLEARWELL_CACHE"):
        jars.fetch(PINS, quiet, tmp_path / "file")


def test_the_pins_name_one_version_of_each_jar_and_kafka_throughout() -> None:
    found = pins.load()
    names = [jar.coordinates.rsplit(":", 1)[0] for jar in found.jars]
    assert len(names) == len(set(names))
    versions = {
        jar.coordinates.rsplit(":", 1)[1] for jar in found.jars if jar.coordinates.startswith("org.apache.kafka:")
    }
    assert versions == {"4.3.1"}
    assert {*pins.ROOTS} <= {jar.coordinates for jar in found.jars}


def test_a_damaged_or_missing_pins_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        pins.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[[jars]]\ncoordinates = 3")
    with pytest.raises(ConfigError, match="damaged"):
        pins.load(tmp_path / "bad.toml")


def test_a_port_in_use_or_chosen_twice_is_told_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Port {taken} for kafka is in use .* --kafka-port"):
            choose(Ports(kafka=taken))
    with pytest.raises(ConfigError, match="twice"):
        choose(Ports(kafka=taken, mongo=taken))


def test_free_ports_are_different_and_chosen_ones_are_kept() -> None:
    found = choose(Ports(postgres=15_432))
    assert found.postgres == 15_432
    assert len({found.kafka, found.postgres, found.mongo, found.controller}) == 4


def test_a_process_id_used_again_is_another_process() -> None:
    me = state.Identity.of(os.getpid())
    assert me is not None and me.process() is not None
    assert state.Identity(me.pid, me.created - 10).process() is None


def test_files_of_the_stack_are_private_and_damage_is_told(tmp_path: Path) -> None:
    me = state.Identity.of(os.getpid())
    assert me is not None
    written = state.StackState(me, [state.ProcessState("kafka", state.READY, me)])
    state.write(tmp_path / state.STATE_FILE, written)
    assert (tmp_path / state.STATE_FILE).stat().st_mode & 0o777 == 0o600
    assert state.running(tmp_path) == written
    (tmp_path / state.STATE_FILE).write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        state.read(tmp_path)


def test_wipe_deletes_no_folder_that_is_not_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="nothing was deleted"):
        stop.down(tmp_path, wipe=True)
    assert (tmp_path / "thesis.tex").exists()


def test_last_words_are_of_this_life_and_name_a_full_disk(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_message(log) == ""
    log.write_text("PANIC: No space left on device\ninitdb: removing contents\n")
    assert last_message(log) == "the disk is full: make room"
    began = log.stat().st_size
    with log.open("a") as more:
        more.write("error: the contract is wrong\n\n")
    assert last_message(log, began) == "error: the contract is wrong"


BOUND = """
import subprocess, sys
from clearwell.local import child
owner, program, *args = sys.argv[1:]
subprocess.run([*child.prefix(15, owner=owner or None), sys.executable, "-c", program, *args])
"""
"""A parent that runs a program as a child of the stack's kind."""


def test_a_child_is_told_when_its_parent_is_killed() -> None:
    program = """
import signal
def told(*_):
    print("told", flush=True)
    raise SystemExit
signal.signal(signal.SIGTERM, told)
signal.alarm(10)
print("up", flush=True)
signal.pause()
"""
    with killed_at_end([sys.executable, "-c", BOUND, "", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        parent.wait()
        assert parent.stdout.read() == b"told\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to drop")
def test_the_owner_of_a_folder_has_no_rights_beside_it(tmp_path: Path) -> None:
    """Not one capability, no file of root's; its folder it reaches though only root may enter the one above."""
    data = tmp_path / "private" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    data.chmod(0o700)
    (data.parent / "root's").write_text("secret")
    os.chown(data, 61_999, 61_999)
    program = (
        'grep Cap /proc/self/status; ulimit -Hc; id -u; id -G; cat "$0" /etc/shadow; echo reached >/proc/self/cwd/file'
    )
    command = [*child.prefix(15, owner=data), "/bin/sh", "-c", program, str(data.parent / "root's")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    capabilities = dict(line.split(":\t") for line in done.stdout.splitlines() if ":" in line)
    assert {capabilities[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert done.stdout.splitlines()[-3:] == ["0", "61999", "61999"], "no core, no other user and no other group"
    assert done.stderr.count("Permission denied") == 2
    file = (data / "file").stat()
    assert (file.st_uid, file.st_mode & 0o777) == (61_999, 0o600)


def test_a_folder_keeps_its_ports_while_they_are_free() -> None:
    before = choose(Ports())
    assert choose(Ports(), before) == before
    assert changes(before, choose(Ports(), before), Ports()) == {}
    with socket.socket() as other:
        other.bind(("127.0.0.1", before.kafka or 0))
        other.listen()
        now = choose(Ports(), before)
    assert now.kafka != before.kafka
    assert (now.postgres, now.mongo, now.push) == (before.postgres, before.mongo, before.push)
    assert changes(before, now, Ports()) == {"kafka": (before.kafka, now.kafka)}


def test_a_chosen_port_is_no_change_that_had_to_be() -> None:
    before = choose(Ports())
    free = choose(Ports(), None).kafka
    now = choose(Ports(kafka=free), before)
    assert now.kafka == free and now.postgres == before.postgres
    assert changes(before, now, Ports(kafka=free)) == {}
    assert changes(None, now, Ports()) == {}


def test_a_data_folder_is_ours_and_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        require_private(home)
    home.chmod(0o700)
    require_private(home)
    link = tmp_path / "link"
    link.symlink_to(home)
    require_private(link)  # ours, to a folder of ours
    (home / "postgres").mkdir()
    if os.geteuid() == 0:
        os.chown(home / "postgres", 61_999, 61_999)
        require_private(home)
        (home / "logs").mkdir()
        (home / "logs" / "kafka.log").symlink_to("/etc/shadow")
        os.chown(home / "logs" / "kafka.log", 65_534, 65_534, follow_symlinks=False)
        with pytest.raises(ConfigError, match=r"kafka\.log belongs to another user"):
            require_private(home)
        os.chown(link, 65_534, 65_534, follow_symlinks=False)
        with pytest.raises(ConfigError, match="belongs to another user: choose one of your own"):
            require_private(link)


def test_a_log_is_no_link_and_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        append(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()
    append(tmp_path / "log").close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_password_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "password"
    assert password(file) == password(file) == file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    write_private(file, "another")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("another", 0o600)


def test_each_server_that_the_settings_name_can_be_embedded() -> None:
    assert tuple(SERVER_KINDS) == SERVERS
    addresses = {name: f"{name}://there" for name in SERVERS}
    assert plan_servers(Path(), StackPlan(Ports(), False, "", ""), addresses).endpoints() == Endpoints(**addresses)
