"""What publishing a text would do beside what is published: the judgement alone, without servers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clearwell.control.contract_judgement import Outcome, PlannedContract, judge
from clearwell.errors import Hint
from clearwell.registry.contracts import PublishedContract, digest_of
from clearwell.testing.contracts import minimal_text as text

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROUTED = "routes:\n  - {to: postgres, table: visits}\n"

Judge = Callable[..., PlannedContract]


def published(written: str, version: int = 1, revision: int = 0, retired: bool = False) -> PublishedContract:
    return PublishedContract("visits", version, revision, digest_of(written), written, NOW, NOW if retired else None)


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    def judge_text(written: str, *known: PublishedContract, version: int = 1, minor: bool = False) -> PlannedContract:
        return judge(tmp_path / "visits" / f"v{version}.yaml", written, known, minor=minor)

    return judge_text


def test_the_first_is_a_new_version_and_the_same_again_is_unchanged(judged: Judge) -> None:
    assert judged(text()).outcome is Outcome.NEW_VERSION
    same = judged(text(), published(text()))
    assert (same.outcome, same.changes) == (Outcome.UNCHANGED, False)
    assert judged(text(), published(text(), retired=True)).outcome is Outcome.RESTORED


def test_a_text_changed_in_place_is_shown_and_needs_a_word(judged: Judge) -> None:
    changed = text(ROUTED)
    refused = judged(changed, published(text()))
    assert refused.refusal is not None
    assert (refused.outcome, refused.refusal.code) == (Outcome.REFUSED, "contract_changed")
    assert refused.refusal.hint == Hint("contracts.publish_minor", refused.file)
    assert refused.changed_lines == ("+routes:", "+  - {to: postgres, table: visits}")
    minor = judged(changed, published(text()), published(text("# a word\n"), revision=1), minor=True)
    assert (minor.outcome, minor.version, minor.revision) == (Outcome.NEW_REVISION, 1, 2)


def test_what_readers_can_not_read_is_a_new_version_whatever_is_asked_for(judged: Judge) -> None:
    known = published(text(n="{type: int64}"))
    for minor in (False, True):
        refused = judged(text(n="{type: string}"), known, minor=minor)
        assert refused.refusal is not None and refused.refusal.hint is None
        assert str(refused.refusal).endswith(
            "v1.yaml has changed since visits v1 was published of it, and its readers can't read the new text "
            "(n has another type): make it v2.yaml."
        )
    third = judged(text(n="{type: string}"), known, published(text(version="2"), 2))
    assert str(third.refusal).endswith("make it v3.yaml.")


def test_a_new_version_tells_what_it_breaks_and_versions_only_grow(judged: Judge) -> None:
    plan = judged(text(version="2", n="{type: string}"), published(text(n="{type: int64}")), version=2)
    assert plan.outcome is Outcome.NEW_VERSION
    assert plan.warnings == ("Readers of v1 can't read it (n has another type): backfill it before anyone switches.",)
    late = judged(text(), published(text(version="2"), 2, retired=True))
    assert late.refusal is not None
    assert (late.refusal.code, str(late.refusal)) == (
        "version_is_old",
        "visits v2 is published, so v1 comes too late: versions only grow.",
    )


def test_a_table_that_cannot_take_the_new_rows_refuses_a_version(judged: Judge) -> None:
    plan = judged(text(ROUTED, version="2", n="{type: string}"), published(text(ROUTED, n="{type: int64}")), version=2)
    assert plan.refusal is not None
    assert plan.refusal.code == "wrong_contract" and "its deliverer would stop" in str(plan.refusal)


def test_what_this_release_can_not_read_is_told_and_nothing_is_guessed(judged: Judge) -> None:
    newer = published(text() + "from_a_newer_release: true\n")
    refused = judged(text(), newer, minor=True)
    assert refused.outcome is Outcome.REFUSED
    assert "visits v1 (published):" in str(refused.refusal) and "from_a_newer_release" in str(refused.refusal)
    after = judged(text(version="2"), newer, version=2)
    assert after.outcome is Outcome.NEW_VERSION and "can read v2" in after.warnings[0]


def test_a_file_that_is_no_contract_is_refused_alone(judged: Judge) -> None:
    assert judged("stream: [").outcome is Outcome.REFUSED
    misnamed = judged(text(version="3"))
    assert misnamed.refusal is not None and "call it v3.yaml" in str(misnamed.refusal)
