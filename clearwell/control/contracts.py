"""Contracts as people and programs see them. All of it works on a folder of contracts, without servers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from clearwell.contract.compare import Difference, compare
from clearwell.contract.feature_language import spelled
from clearwell.contract.feature_views import views_of
from clearwell.contract.features import Feature
from clearwell.contract.load import all_contracts, contract_files, find, find_file, load, version_of
from clearwell.contract.model import Condition, Field, RejectionLimits
from clearwell.errors import ConfigError
from clearwell.pipeline.compiler import Pipeline
from clearwell.pipeline.compiler import compile as compile_pipeline
from clearwell.pipeline.examples import ExampleResult, run_examples
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.steps import bind

_LIKE_A_CONTRACT = re.compile(r"[vV][0-9]+\.[yY][aA]?[mM][lL]")


class ContractSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a stream, of the file `file`; `routes` are destinations, archives among them."""

    file: str
    stream: str
    version: int
    owner: str
    fields: int
    steps: int
    examples: int
    routes: tuple[str, ...]


class ShownFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature of a view: "latest" of a field, or an aggregate over a window."""

    feature: str
    type: str
    made_of: str
    window: str


class ShownView(msgspec.Struct, frozen=True, kw_only=True):
    """A feature view that the contract declares."""

    view: str
    entity: str
    keys: tuple[str, ...]
    features: tuple[ShownFeature, ...]


class ContractDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A whole contract: `fields` come in, `steps` are done in order, `clean` goes out to `routes`.

    A field has what it declares and nothing else; `lookback` is how many raw offsets back its steps look.
    """

    stream: str
    version: int
    owner: str
    description: str
    key: tuple[str, ...]
    event_id: str
    event_time: str
    subject: str | None
    unknown_fields: str
    fields: Sequence[Mapping[str, Any]]
    steps: Sequence[Mapping[str, Any]]
    clean: Sequence[Mapping[str, Any]]
    routes: Sequence[Mapping[str, Any]]
    limits: RejectionLimits
    examples: Sequence[str]
    lookback: int
    feature_views: Sequence[ShownView]


class ContractComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two versions; `readable`: whether readers of the old one can read the new one."""

    stream: str
    old: int
    new: int
    readable: bool
    differences: tuple[Difference, ...]


def list_contracts(schemas: Path) -> list[ContractSummary]:
    """All versions, by stream. Raises ConfigError without such a folder, ContractError when one is wrong."""
    return [
        ContractSummary(
            file=contract.location.file,
            stream=contract.stream,
            version=contract.version,
            owner=contract.owner,
            fields=len(contract.fields),
            steps=len(contract.steps),
            examples=len(contract.examples),
            routes=tuple(route.to for route in (*contract.routes, *contract.archives)),
        )
        for contract in all_contracts(schemas)
    ]


def show_contract(path: Path) -> ContractDetails:
    """The contract in a file. Raises ContractError when it is wrong."""
    return _details(_pipeline(path))


def show_python(path: Path) -> str:
    """The Python that a contract is compiled to. Raises as `show_contract`."""
    return _pipeline(path).source


def run_tests(path: Path) -> list[ExampleResult]:
    """Run the examples that a contract carries, without Kafka. Raises as `show_contract`."""
    return run_examples(_pipeline(path))


def compare_versions(schemas: Path, stream: str, old: int | None = None, new: int | None = None) -> ContractComparison:
    """Two versions of a stream; by default the highest, and the one before it.

    Raises ConfigError when one of them is not there, ContractError when one is wrong.
    """
    after = find(schemas, stream, new)
    before = find(schemas, stream, after.version - 1 if old is None else old)
    comparison = compare(bind(before).schema, bind(after).schema)
    return ContractComparison(
        stream=stream,
        old=before.version,
        new=after.version,
        readable=comparison.readable,
        differences=comparison.differences,
    )


def contract_file(schemas: Path, target: str, version: int | None = None) -> Path:
    """The file that a person means: a path, or a stream. Raises ConfigError with the nearest name."""
    return _short(Path(target) if _is_path(target) else find_file(schemas, target, version))


def find_contract_files(schemas: Path, targets: Sequence[str]) -> list[Path]:
    """The files that a person means: files, folders of contracts, or streams (all their versions); without any, all.

    Raises ConfigError where there is none, so that a check of nothing does not look like one that went well.
    """
    if not targets:
        contract_files(schemas)  # says so when there is no such folder
        return [_short(path) for path in _inside(schemas)]
    paths: list[Path] = []
    for target in targets:
        path = Path(target)
        if path.is_dir():
            paths += _inside(path)
        elif _is_path(target):
            paths.append(path)
        else:
            find_file(schemas, target)
            paths += [file for file in contract_files(schemas) if file.parent.name == target]
    return [_short(path) for path in paths]


def _inside(folder: Path) -> list[Path]:
    """The contracts in a folder of streams, or of one stream; misnamed ones too, so that none is passed over."""
    files = [path for path in (*folder.glob("*/*"), *folder.glob("*")) if _LIKE_A_CONTRACT.fullmatch(path.name)]
    if not files:
        raise ConfigError(f"There are no contracts in {folder}: write one as <stream>/v1.yaml.")
    return sorted(files, key=lambda path: (path.parent, version_of(path), path))


def _is_path(target: str) -> bool:
    return target.endswith((".yaml", ".yml")) or "/" in target


def _short(path: Path) -> Path:
    """The path as people here would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _pipeline(path: Path) -> Pipeline:
    return compile_pipeline(load(path), MemoryKeyring())


def _details(pipeline: Pipeline) -> ContractDetails:
    contract = pipeline.contract
    routes = (*contract.routes, *contract.archives)
    return ContractDetails(
        stream=contract.stream,
        version=contract.version,
        owner=contract.owner,
        description=contract.description,
        key=contract.key,
        event_id=contract.event_id,
        event_time=contract.event_time,
        subject=contract.subject,
        unknown_fields=contract.unknown_fields,
        fields=[_field(field) for field in contract.fields],
        steps=[{step.name: step.args} for step in contract.steps],
        clean=[_field(field) for field in pipeline.schema.fields],
        routes=[{"to": route.to, **route.options, "when": describe_condition(route.when)} for route in routes],
        limits=contract.limits,
        examples=[example.name for example in contract.examples],
        lookback=pipeline.lookback,
        feature_views=list(_views(pipeline)),
    )


def describe_condition(condition: Condition | None) -> str:
    """A condition in words: `carrier eq "UA"`; "always" for none."""
    if condition is None:
        return "always"
    if condition.parts:
        return f"{condition.op} ({'; '.join(describe_condition(part) for part in condition.parts)})"
    return f"{condition.field} {condition.op} {msgspec.json.encode(condition.value).decode()}"


def _field(field: Field) -> dict[str, Any]:
    known = {name: getattr(field, name) for name in Field.__dataclass_fields__ if name != "where"}
    known["privacy"] = _protection(field)
    return {name: value for name, value in known.items() if value is not None and value != ""}


def _protection(field: Field) -> str | None:
    if field.privacy is None:
        return None
    return f"{field.privacy.kind} by {field.privacy.width:g}" if field.privacy.width else str(field.privacy.kind)


def _views(pipeline: Pipeline) -> Iterator[ShownView]:
    for view in views_of(pipeline.contract, pipeline.schema):
        keys = tuple(key.name for key in view.entity.keys)
        yield ShownView(
            view=view.name, entity=view.entity.name, keys=keys, features=tuple(map(_feature, view.features))
        )


def _feature(feature: Feature) -> ShownFeature:
    source = feature.source.name
    made_of = f"latest {source}" if feature.aggregate is None else f"{feature.aggregate} of {source}"
    return ShownFeature(feature=feature.name, type=str(feature.type), made_of=made_of, window=_window(feature))


def _window(feature: Feature) -> str:
    if feature.window is None:
        return ""
    length, slide = spelled(feature.window.length), spelled(feature.window.slide)
    return f"{length}, tumbling" if feature.window.tumbling else f"{length}, every {slide}"
