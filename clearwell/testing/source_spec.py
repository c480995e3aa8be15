"""What every source's configuration must do, whether it is read or sent to."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar

import jsonschema
import msgspec
import pytest

from clearwell.contract.model import Type
from clearwell.errors import ClearwellError, ConfigError
from clearwell.plugins.kinds import source_class
from clearwell.plugins.options import DIALECT, options_of
from clearwell.plugins.spec import decode
from clearwell.secret_references import resolve
from clearwell.testing.source_cases import plant, require_clear

Caplog = pytest.LogCaptureFixture


class ConfiguredSuite:
    """Tests of the configuration, shared by the two suites.

    A subclass gives the fixture `case`. It may set `options` (laid over the case's config), and say what its source
    is not able to do: `cannot` maps a test's name to the reason why it must fail (a strict xfail), `skipped` to the
    reason why it makes no sense.
    """

    options: ClassVar[Mapping[str, Any]] = {}
    cannot: ClassVar[Mapping[str, str]] = {}
    skipped: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def case(self) -> Any:
        """The source under test."""
        raise NotImplementedError("A suite's subclass gives the fixture `case`: a SourceCase (or PushCase).")

    def broken(self, case: Any) -> Mapping[str, Mapping[str, Any]]:
        """Options laid over the good ones by what is wrong with them; `check` must refuse each."""
        return getattr(case, "broken", {})

    def source_class(self, case: Any) -> Any:
        """The class under test."""
        return source_class(case.kind)

    @pytest.fixture(autouse=True)
    def _excused(self, request: pytest.FixtureRequest) -> None:
        name = getattr(request.node, "originalname", request.node.name)
        unknown = [one for one in (*self.cannot, *self.skipped) if not hasattr(self, one)]
        assert not unknown, f"`cannot` and `skipped` name no test: {unknown}."
        if name in self.skipped:
            pytest.skip(self.skipped[name])
        if name in self.cannot:
            request.applymarker(pytest.mark.xfail(strict=True, reason=self.cannot[name]))

    def written(self, case: Any) -> dict[str, Any]:
        """The configuration as a person writes it."""
        return {**case.config, **self.options}

    def config(self, case: Any, **other: Any) -> Any:
        """The configuration as the source gets it: references resolved, decoded."""
        resolved, _ = resolve({**self.written(case), **other})
        return decode(resolved, self.source_class(case).Config, "config")

    def secrets(self, case: Any) -> list[str]:
        """What the references of the case stand for."""
        return [value for value in resolve(self.written(case))[1] if value]

    def make(self, case: Any, **other: Any) -> Any:
        """A fresh source."""
        return self.source_class(case)(self.config(case, **other))

    def test_spec_round_trip(self, case: Any) -> None:
        """The configuration class, its JSON Schema and what a person writes say the same; every option is told of."""
        shape = self.source_class(case).Config
        schema = json.loads(json.dumps({"$schema": DIALECT} | msgspec.json.schema(shape)))
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(self.written(case), schema)
        config = self.config(case)
        back = decode(json.loads(json.dumps(msgspec.to_builtins(config))), shape, "config")
        assert back == config, "A configuration is another one after it was written down."
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**self.written(case), "no such option": 1}, schema)
        silent = [option.name for option in options_of(shape) if not option.text and "." not in option.name]
        assert not silent, f"{shape.__name__} does not describe {silent}: use msgspec.Meta(description=…)."

    def test_config_is_frozen(self, case: Any) -> None:
        """A configuration can't change under a running source."""
        config = self.config(case)
        with pytest.raises(AttributeError):
            setattr(config, config.__struct_fields__[0], None)

    def test_unknown_key_refused(self, case: Any) -> None:
        """A misspelt option is refused with the right spelling."""
        for name in (field.encode_name for field in msgspec.structs.fields(self.source_class(case).Config)):
            with pytest.raises(ConfigError, match=f'Did you mean "{name}"'):
                self.config(case, **{name + name[-1]: 1})

    def test_check_passes(self, case: Any) -> None:
        """The good configuration passes, more than once."""
        self.prepare(case)
        source = self.make(case)
        source.check()
        source.check()

    def test_check_fails_clearly(self, case: Any) -> None:
        """Each broken configuration is refused in one clear sentence without secrets."""
        broken = self.broken(case)
        assert broken, "Give the case `broken`: what a person gets wrong, such as a wrong address or password."
        for what, other in broken.items():
            with self.told(case, what):
                self.make(case, **other).check()
                raise AssertionError(f"{what}: `check` finds nothing wrong.")

    def test_discover_gives_typed_fields(self, case: Any) -> None:
        """Streams with names, fields of the contract's types, and samples made of these fields."""
        self.prepare(case)
        streams = self.make(case).discover()
        assert streams, "`discover` found no stream."
        for stream in streams:
            assert stream.name and stream.fields, "A stream without name or fields was discovered."
            strange = {kind for kind in stream.fields.values() if kind not in set(Type)}
            assert not strange, f"{stream.name} has fields of types that no contract has: {strange}."
            assert len(stream.sample) <= 1_000, "More than 1,000 sample rows."
            for row in stream.sample:
                assert set(row) <= set(stream.fields), f"A sample has fields not discovered: {set(row)}."

    def test_secrets_stay_secret(self, case: Any, caplog: Caplog) -> None:
        """No secret in repr, logs or errors: of the good configuration, and of one with wrong secrets."""
        self.prepare(case)
        caplog.set_level(logging.DEBUG)
        shown: list[str] = []
        good = self.config(case)
        planted = plant(good)
        for config in (good, planted.config):
            shown += [repr(config), str(config)]
            try:
                source = self.source_class(case)(config)
                shown += [repr(source), str(source)]
                source.check()
                self.use(source)
                shown += [repr(source)]
            except ClearwellError as error:
                shown += _shown(error)
        shown.append(caplog.text)
        for secret in [*self.secrets(case), *planted.canaries]:
            assert not any(secret in text for text in shown), "A secret can be read in a repr, a log or an error."

    def prepare(self, case: Any) -> None:
        """Have something that can be read, before `check` and `discover`."""

    def use(self, source: Any) -> None:
        """Do with the source what it is for, a little; it may fail with a ClearwellError."""

    def told(self, case: Any, what: str) -> _Told:
        """A context that must be left by a clear ClearwellError without a secret of the case."""
        return _Told(what, self.secrets(case))


class _Told:
    def __init__(self, what: str, secrets: list[str]) -> None:
        self._what = what
        self._secrets = secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: Any) -> bool:
        if not isinstance(error, ClearwellError):
            if error is None or isinstance(error, AssertionError):
                return False
            raise AssertionError(f"{self._what}: {type(error).__name__} instead of a ConfigError or Retryable.")
        require_clear(error)
        hidden = all(secret not in text for text in _shown(error) for secret in self._secrets)
        assert hidden, f"{self._what}: the error holds a secret."
        return True


def _shown(error: BaseException) -> list[str]:
    return [str(error), repr(error), "".join(traceback.format_exception(error))]
