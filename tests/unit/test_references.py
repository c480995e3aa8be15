"""What a configuration may refer to: lists of whoever runs the platform, and never the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.errors import ConfigError
from clearwell.local import environment
from clearwell.secret_references import resolve


def value(text: str, **env: str) -> object:
    return resolve({"k": text}, env)[0]["k"]


def test_only_secrets_by_default() -> None:
    assert value("${env:CLEARWELL_SECRET_SHOP}", CLEARWELL_SECRET_SHOP="x") == "x"
    for name in ("AWS_SECRET_ACCESS_KEY", "PATH", "HOME", "CLEARWELL_POSTGRES", "CLEARWELL_KAFKA_PASSWORD"):
        with pytest.raises(ConfigError, match="configurations may not read: call it CLEARWELL_SECRET_") as told:
            value(f"${{env:{name}}}", **{name: "canary"})
        assert "canary" not in str(told.value)


def test_what_the_list_says() -> None:
    allowed = {"CLEARWELL_REFERENCE_ENV": "SHOP_*, PIN", "SHOP_PW": "a", "PIN": "b", "PINS": "c"}
    assert (value("${env:SHOP_PW}", **allowed), value("${env:PIN}", **allowed)) == ("a", "b")
    with pytest.raises(ConfigError, match="may not read"):
        value("${env:PINS}", **allowed)
    with pytest.raises(ConfigError, match="may not read"):
        value("${env:PIN}", CLEARWELL_REFERENCE_ENV="", PIN="b")


def test_files_of_listed_folders_alone(tmp_path: Path) -> None:
    allowed, home = tmp_path / "allowed", tmp_path / "home"
    for folder in (allowed, home):
        folder.mkdir()
        (folder / "file").write_text("canary\n")
    env = {"CLEARWELL_REFERENCE_FILES": f"/run/secrets:{allowed}", "CLEARWELL_HOME": str(home)}
    assert value(f"${{file:{allowed}/file}}", **env) == "canary"
    (allowed / "link").symlink_to(home / "file")
    (allowed / "away").symlink_to("/etc/passwd")
    for path in ("/etc/passwd", f"{allowed}/../home/file", f"{allowed}/away", f"{allowed}/link", f"{home}/file"):
        with pytest.raises(ConfigError, match=r"may not read|data folder") as told:
            value(f"${{file:{path}}}", **env)
        assert "canary" not in str(told.value)
    everything = env | {"CLEARWELL_REFERENCE_FILES": "/"}
    with pytest.raises(ConfigError, match="in the data folder: nothing may be read there"):
        value(f"${{file:{allowed}/link}}", **everything)


def test_the_stacks_processes_get_what_they_need_and_no_more() -> None:
    env = {
        **dict.fromkeys(("PATH", "HOME", "LC_ALL", "TZ"), "x"),
        **dict.fromkeys(("CLEARWELL_SECRET_SHOP", "CLEARWELL_LISTEN", "SHOP_PW", "https_proxy"), "x"),
        **dict.fromkeys(("GITHUB_TOKEN", "SSH_AUTH_SOCK", "LD_PRELOAD", "DATABASE_URL", "PYTHONSTARTUP"), "x"),
        "CLEARWELL_REFERENCE_ENV": "SHOP_*",
    }
    assert set(environment.for_servers(env)) == {"PATH", "HOME", "LC_ALL", "TZ"}
    ours = {"CLEARWELL_LISTEN", "CLEARWELL_REFERENCE_ENV", "CLEARWELL_SECRET_SHOP", "SHOP_PW", "https_proxy"}
    assert set(environment.for_services(env)) == {"PATH", "HOME", "LC_ALL", "TZ"} | ours
