"""Contract files → `Contract`. Every error of a file is reported at once, with its line and the nearest spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clearwell.contract.fields import EXTRA
from clearwell.contract.language import CONTRACT
from clearwell.contract.model import ARCHIVE, Contract, RejectionLimits, UnknownFields
from clearwell.contract.problems import Problems
from clearwell.contract.tree import MAX_BYTES, Node
from clearwell.contract.tree import parse as parse_tree
from clearwell.errors import ConfigError, ContractError, Location, nearest

_FILE_NAME = re.compile(r"v([1-9][0-9]{0,3})\.yaml\Z")


def load(path: Path) -> Contract:
    """The contract in `path`, which must be `<schemas>/<stream>/v<version>.yaml`.

    Step names and arguments are not judged here: `clearwell.steps.bind` does that.
    Raises ContractError (ContractProblems when the language is broken) with every problem of the file.
    """
    return load_text(path, read(path))


def load_text(path: Path, text: str) -> Contract:
    """As `load`, where the text of the file was read already (`read`)."""
    contract = parse(text, str(path))
    problems = Problems()
    named = _FILE_NAME.match(path.name)
    if named is None or int(named[1]) != contract.version:
        problems.add(
            f'The file is called "{path.name}" but holds version {contract.version}: '
            f"call it v{contract.version}.yaml, or mend `version`.",
            contract.lines["version"],
        )
    folder = path.absolute().parent.name
    if folder != contract.stream:
        problems.add(
            f'The file is in the folder "{folder}" but holds the stream "{contract.stream}": '
            "move it, or mend `stream`.",
            contract.lines["stream"],
        )
    problems.raise_any()
    return contract


def parse(text: str, file: str) -> Contract:
    """The contract that `text` spells out; `file` is what error messages call it. Raises ContractError like `load`."""
    root = parse_tree(text, file)
    problems = Problems()
    read = CONTRACT.read(root, "the contract", problems)
    if isinstance(root.value, dict):
        _check_names(root.value, problems)
    problems.raise_any()
    fields = tuple(replace(field, name=name) for name, field in read["fields"].items())
    routes = read.get("routes", ())
    return Contract(
        stream=read["stream"],
        version=read["version"],
        owner=read["owner"],
        description=read.get("description", ""),
        key=tuple(read["key"]),
        event_id=read["event_id"],
        event_time=read["event_time"],
        subject=read.get("subject"),
        unknown_fields=UnknownFields(read.get("unknown_fields", UnknownFields.REJECT)),
        fields=fields,
        steps=tuple(read.get("steps", ())),
        routes=tuple(route for route in routes if route.kind != ARCHIVE),
        limits=read.get("limits", RejectionLimits()),
        examples=tuple(read.get("tests", ())),
        location=Location(file, 1),
        lines=root.lines(),
        archives=tuple(route for route in routes if route.kind == ARCHIVE),
    )


def read(path: Path) -> str:
    """The text of a contract file. Raises ContractError where there is none, or it is no text."""
    location = Location(str(path), 1)
    try:
        if not path.is_file():
            raise ContractError("There is no such file.", location)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContractError("The file is not UTF-8 text.", location) from error
    except OSError as error:
        raise ContractError(f"The file can't be read: {error.strerror}.", location) from error


def contract_files(folder: Path) -> list[Path]:
    """The contract files of a schemas folder, by stream and then version. Raises ConfigError when it is not there."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder of contracts at {folder}: set CLEARWELL_SCHEMAS, or create it.")
    paths = [path for path in folder.glob("*/v*.yaml") if _FILE_NAME.match(path.name)]
    return sorted(paths, key=lambda path: (path.parent.name, version_of(path)))


def version_of(path: Path) -> int:
    """The version in a contract's file name; 0 when it is not called v<N>.yaml."""
    named = _FILE_NAME.match(path.name)
    return int(named[1]) if named else 0


def all_contracts(folder: Path) -> list[Contract]:
    """Every contract of a schemas folder, by stream and then version. Raises ConfigError as `load` does."""
    return [load(path) for path in contract_files(folder)]


def newest_contracts(folder: Path) -> list[Contract]:
    """The highest version of every stream of a schemas folder, which need not be there. Raises ContractError."""
    return [find(folder, stream) for stream in sorted({file.parent.name for file in folder.glob("*/v*.yaml")})]


def find(folder: Path, stream: str, version: int | None = None) -> Contract:
    """A stream's contract, the highest version by default. Raises ConfigError with the nearest name, or as `load`."""
    return load(find_file(folder, stream, version))


def find_file(folder: Path, stream: str, version: int | None = None) -> Path:
    """The file of a stream's contract, the highest version by default. Raises ConfigError with the nearest name."""
    paths = contract_files(folder)
    versions = {version_of(path): path for path in paths if path.parent.name == stream}
    if not versions:
        known = sorted({path.parent.name for path in paths})
        hint = nearest(stream, known) or (f" Known streams: {', '.join(known)}." if known else "")
        raise ConfigError(f'There is no contract for a stream "{stream}" in {folder}.{hint}')
    if version is None:
        return versions[max(versions)]
    if version not in versions:
        known_versions = ", ".join(f"v{number}" for number in sorted(versions))
        raise ConfigError(f'The stream "{stream}" has no version {version}; it has {known_versions}.')
    return versions[version]


def _check_names(written: Mapping[str, Node], problems: Problems) -> None:
    """Names that clash: columns that differ only in case, the reserved `extra`, examples of one name, key twice."""
    fields = written["fields"].value if "fields" in written else None
    keep = "unknown_fields" in written and written["unknown_fields"].value == UnknownFields.KEEP
    seen: dict[str, str] = {}
    for name, node in fields.items() if isinstance(fields, dict) else ():
        location = node.named_at or node.location
        if name.lower() in seen:
            problems.add(f'"{name}" and "{seen[name.lower()]}" differ only in case; stores may mix them up.', location)
        if keep and name.lower() == EXTRA:
            problems.add(f'"{name}" is reserved where `unknown_fields` is keep: call it something else.', location)
        seen[name.lower()] = name
    for whole, part in (("key", None), ("tests", "name")):
        _check_twice(written.get(whole), part, problems)


def _check_twice(node: Node | None, part: str | None, problems: Problems) -> None:
    seen: set[Any] = set()
    for item in node.value if node is not None and isinstance(node.value, list) else ():
        named = item.value.get(part) if part is not None and isinstance(item.value, dict) else item
        name = named.value if named is not None else None
        if isinstance(name, str) and name in seen:
            problems.add(f'"{name[:80]}" is there twice.', item.location)
        seen.add(name if isinstance(name, str) else None)
