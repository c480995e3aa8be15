"""Members of consumer groups under a lease, of a process, and of no name."""

from __future__ import annotations

import pytest

from services.worker.member_name import member_name

FAR, NEAR = "postgresql://u:secret@db.example:5432/clearwell", "postgresql://u:secret@127.0.0.1:5432/clearwell"


def test_a_leased_job_has_one_name_on_all_workers_of_a_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "a")
    here = member_name("cleaner.flights.v1", FAR, leased=True), member_name("cleaner.flights.v1", NEAR, leased=True)
    monkeypatch.setattr("socket.gethostname", lambda: "b")
    there = member_name("cleaner.flights.v1", FAR, leased=True), member_name("cleaner.flights.v1", NEAR, leased=True)
    assert here[0] == there[0] != member_name("cleaner.flights.v1", FAR + "2", leased=True)
    assert here[1] != there[1], "two hosts, each with a registry of its own"
    assert "secret" not in f"{here}"


def test_without_a_lease_the_process_has_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWELL_WORKER", "w")
    assert member_name("cleaner.flights.v1", FAR, leased=False) == "cleaner.flights.v1.w"
    monkeypatch.delenv("CLEARWELL_WORKER")
    assert member_name("cleaner.flights.v1", FAR, leased=False) is None
