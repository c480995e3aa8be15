"""The smallest contract that is right, for tests to change in one place."""

from __future__ import annotations

from clearwell.contract.load import parse
from clearwell.contract.model import Contract

MINIMAL = """\
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


def minimal_contract(extra: str = "", **changed: str) -> Contract:
    """MINIMAL with whole lines replaced by their key, and `extra` at its end, such as steps. Raises ContractError."""
    return parse(minimal_text(extra, **changed), "visits/v1.yaml")


def minimal_text(extra: str = "", **changed: str) -> str:
    """The YAML of `minimal_contract`."""
    lines = MINIMAL.splitlines()
    for key, value in changed.items():
        at = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:"))
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines[at] = f"{indent}{key}: {value}"
    return "\n".join(lines) + "\n" + extra
