"""Whoever registers a Singer tap is told that nothing of ours holds where it connects to."""

from __future__ import annotations

import msgspec

from clearwell.source import WithWarnings
from connectors.singer.source import SingerConfig, SingerSource


def test_a_tap_is_no_part_of_what_may_be_reached() -> None:
    source = SingerSource(msgspec.convert({"tap": "tap-github", "stream": "issues"}, SingerConfig))
    assert isinstance(source, WithWarnings)
    (warning,) = source.warnings()
    assert warning.startswith("tap-github connects to what its `config` names, whatever CLEARWELL_EGRESS_ALLOW says")
