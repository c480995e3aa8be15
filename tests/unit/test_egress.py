"""An address is judged by what it is, however it is written."""

from __future__ import annotations

import pytest

from clearwell.egress import VARIABLE, plain, require_allowed, require_allowed_url, rules
from clearwell.errors import ConfigError


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254"])
def test_link_local_is_closed_until_it_is_named(address: str) -> None:
    assert not rules({}).allows("metadata", address)
    assert rules({VARIABLE: "169.254.0.0/16,fe80::/10"}).allows("metadata", address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "8.8.8.8", "::1", "2001:4860:4860::8888"])
def test_without_a_list_the_internet_and_this_machine_are_open_and_with_one_closed(address: str) -> None:
    assert rules({}).allows("host", address)
    assert not rules({VARIABLE: "api.example.com"}).allows("host", address)
    assert not rules({VARIABLE: ""}).allows("host", address)
    assert rules({VARIABLE: f"api.example.com, {address}"}).allows("host", address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "192.168.1.1",
        "172.17.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "198.18.0.1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "::",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "::10.0.0.1",
    ],
)
def test_private_networks_are_closed_until_they_are_named(address: str) -> None:
    assert not rules({}).allows("host", address)
    assert rules({VARIABLE: "host"}).allows("host", address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.0.23",
        "169.254.42.42",
        "fe80::a9fe:a9fe",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:42::42",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "::a9fe:a9fe",
        "::ffff:6464:64c8",
    ],
)
def test_metadata_of_clouds_is_opened_by_nothing_but_its_own_entry(address: str) -> None:
    wide = "metadata,0.0.0.0/0,::/0,100.64.0.0/10,fd00::/8,168.0.0.0/6,192.0.0.0/8"
    assert not rules({}).allows("metadata", address)
    assert not rules({VARIABLE: wide}).allows("metadata", address)
    assert rules({VARIABLE: str(plain(address))}).allows("metadata", address)


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
