"""A small right contract for tests to break in one place."""

from __future__ import annotations

from clearwell.contract.load import parse
from clearwell.contract.model import Contract

GOOD = """\
stream: visits
version: 1
owner: team@example.com
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  n: {type: int32}
"""


def contract(extra: str = "", **changed: str) -> Contract:
    """GOOD with whole lines replaced by key, and `extra` at its end."""
    return parse(text(extra, **changed), "visits/v1.yaml")


def text(extra: str = "", **changed: str) -> str:
    """The YAML of `contract`."""
    lines = GOOD.splitlines()
    for key, value in changed.items():
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines[at] = f"{indent}{key}: {value}"
    return "\n".join(lines) + "\n" + extra
