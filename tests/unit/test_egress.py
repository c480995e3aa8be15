"""An address is judged by what it is, however it is written."""

from __future__ import annotations

import pytest

from clearwell.egress import VARIABLE, require_allowed, require_allowed_url, rules
from clearwell.errors import ConfigError


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254"])
def test_link_local_is_closed_until_it_is_named(address: str) -> None:
    assert not rules({}).allows("metadata", address)
    assert rules({VARIABLE: "169.254.0.0/16,fe80::/10"}).allows("metadata", address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "::1", "2001:4860:4860::8888"])
def test_without_a_list_the_rest_is_open_and_with_one_it_is_closed(address: str) -> None:
    assert rules({}).allows("host", address)
    assert not rules({VARIABLE: "api.example.com"}).allows("host", address)
    assert not rules({VARIABLE: ""}).allows("host", address)
    assert rules({VARIABLE: f"api.example.com, {address}"}).allows("host", address)


def test_names_match_with_a_star_and_without_case() -> None:
    now = rules({VARIABLE: "*.Example.com"})
    assert now.allows("API.example.com.", "8.8.8.8")
    assert not now.allows("example.com.evil.org", "8.8.8.8")


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no host name, address or network"):
        rules({VARIABLE: "10.0.0.1/99"})


def test_a_host_is_judged_by_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "10.0.0.0/8")
    with pytest.raises(ConfigError, match=r"localhost is an address that may not be reached"):
        require_allowed("localhost", 80)
    with pytest.raises(ConfigError, match="may not be reached"):
        require_allowed_url("postgresql://user:secret@127.0.0.1/db", 5432)
    require_allowed_url("sqlite:///some/file", 0)
    monkeypatch.setenv(VARIABLE, "localhost")
    require_allowed("localhost", 80)
