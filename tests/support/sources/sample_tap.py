"""A small Singer tap over a file of JSON lines, after the Singer specification: it goes on after the line of its state.

Settings: `path`, `token` (a secret it must never show), `state_every`, and for bad days: `garbage_after`, `exit_after`,
`hang_after`, each a number of records.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "at": {"type": "string", "format": "date-time"}, "n": {"type": "integer"}},
}


def say(message: dict[str, Any]) -> None:
    """One message."""
    sys.stdout.write(json.dumps(message) + "\n")


def main() -> None:
    """Discover, or sync."""
    parser = argparse.ArgumentParser()
    for name in ("--config", "--catalog", "--state"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--discover", action="store_true")
    args = parser.parse_args()
    config = json.loads(args.config.read_text())
    path = Path(config["path"])
    if args.discover:
        streams = [{"tap_stream_id": name, "stream": name, "schema": SCHEMA} for name in ("events", "others")]
        sys.stdout.write(json.dumps({"streams": streams}))
        return
    chosen = [one["tap_stream_id"] for one in json.loads(args.catalog.read_text())["streams"] if one["selected"]]
    assert chosen == ["events"]
    start = json.loads(args.state.read_text())["line"] if args.state else 0
    say({"type": "SCHEMA", "stream": "events", "schema": SCHEMA, "key_properties": ["id"]})
    sync(path, config, start)


def sync(path: Path, config: dict[str, Any], start: int) -> None:
    """The records from a line on."""
    lines = path.read_text().splitlines()
    for number in range(start, len(lines)):
        misbehave(config, number - start)
        record = json.loads(lines[number])
        say({"type": "RECORD", "stream": "events", "record": record, "time_extracted": time.strftime("%FT%TZ")})
        if (number + 1) % config.get("state_every", 5) == 0:
            say({"type": "STATE", "value": {"line": number + 1}})
        sys.stdout.flush()
    say({"type": "STATE", "value": {"line": len(lines)}})


def misbehave(config: dict[str, Any], records: int) -> None:
    """As the settings say."""
    if records == config.get("garbage_after"):
        sys.stdout.write(f"DEBUG token={config.get('token')} now reading\n")
    if records == config.get("exit_after"):
        sys.stderr.write(f"cannot log in with {config.get('token')}\n")
        sys.exit(1)
    if records == config.get("hang_after"):
        time.sleep(600)


if __name__ == "__main__":
    main()
