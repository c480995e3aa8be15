"""A contract → one compiled Python function over a batch. Live and backfill both run it (invariant 8)."""

from __future__ import annotations

import builtins
import linecache
from collections.abc import Callable, Sequence
from typing import Any

from clearwell.contract.model import CleanSchema, Contract
from clearwell.errors import ClearwellError
from clearwell.pipeline.batch import Outcomes, RawBatch, Rejected
from clearwell.pipeline.decode import emit_decode
from clearwell.pipeline.explain import explainer
from clearwell.pipeline.final_types import Leaving
from clearwell.pipeline.protect import emit_output
from clearwell.pipeline.state import PipelineState
from clearwell.privacy.keyring import Keyring
from clearwell.steps.loop_writer import INDENT, Code
from clearwell.steps.plan import StepPlan, bind

__all__ = ["Pipeline", "PipelineState", "compile"]

Run = Callable[[Sequence[int], Sequence[bytes | None], PipelineState, Outcomes], None]

NOT_DATA = (ClearwellError, MemoryError, NameError)
"""Exceptions that are no verdict on an event: a bad world, and a mistake in the code that we write."""

_FIXED = {"_Exception": Exception, "_Rejected": Rejected, "_len": len, "_not_data": NOT_DATA, "_zip": zip}

_HEAD = """\
def process(_offsets, _values, _state, _outcomes):
    _keep_offset = _outcomes.offsets.append
    _keep_key = _outcomes.keys.append
    _keep_value = _outcomes.values.append
    _drop = _outcomes.dropped.append
    _reject = _outcomes.rejected.append
"""

_LOOP = """\
    for _offset, _value in _zip(_offsets, _values, strict=True):
        try:
"""

_TAIL = """\
        except _not_data:
            raise
        except _Exception as _error:
            _reject(_explain(_offset, _value, _error))
"""


class Pipeline:
    """The compiled pipeline of one contract. Immutable and without I/O; one pipeline serves all partitions.

    contract, schema: what it was compiled from, and the shape of what it keeps. source: the generated Python.
    lookback: raw offsets of a partition that must be replayed through `process` (outcomes discarded) into a new state
    before the first event whose outcome counts; 0 when the pipeline remembers nothing.
    """

    def __init__(self, contract: Contract, plan: StepPlan, source: str, run: Run, memories: Sequence[Any]) -> None:
        self.contract = contract
        self.schema: CleanSchema = plan.schema
        self.lookback = plan.lookback
        self.source = source
        self._run = run
        self._leaving = Leaving(plan.schema)
        self._memories = memories

    def new_state(self) -> PipelineState:
        """The state of one partition of which nothing is known yet."""
        return PipelineState(self._memories)

    def process(self, batch: RawBatch, state: PipelineState) -> Outcomes:
        """Clean a batch: exactly one outcome for each of its events (invariant 5), in order.

        `state` belongs to the batch's partition and moves on with it. Bad data is a value in the result. Raises Fatal
        when a key is gone (invariant 6) or the batch goes back behind the state.
        """
        outcomes = Outcomes()
        if batch.offsets:
            state.admit(batch)
            if batch.refused:
                self._run(batch.offsets, _unread(batch), state, outcomes)
                outcomes.rejected = [_refusal(batch, rejected) for rejected in outcomes.rejected]
            else:
                self._run(batch.offsets, batch.values, state, outcomes)
            self._leaving.check(outcomes.values)
        return outcomes


def _unread(batch: RawBatch) -> list[bytes | None]:
    """The values, with nothing in the place of what the source refused: it is rejected whatever it is."""
    return [None if at in batch.refused else value for at, value in zip(batch.offsets, batch.values, strict=True)]


def _refusal(batch: RawBatch, rejected: Rejected) -> Rejected:
    reason = batch.refused.get(rejected.offset)
    return rejected if reason is None else Rejected(rejected.offset, reason, "source")


def compile(contract: Contract, keyring: Keyring) -> Pipeline:
    """The pipeline of a contract. Raises ContractError for what its steps get wrong, Fatal when a key is missing."""
    plan = bind(contract)
    code = Code()
    emit_decode(code, contract)
    for bound in plan.steps:
        code.step = bound.label
        code.add(f"# {bound.label}")
        bound.step.emit(code, bound.before, bound.after)
    code.add_endings()
    emit_output(code, plan, keyring)
    source, steps_by_line = _assemble(code)
    for name, value in _FIXED.items():
        code.bind(name, value)
    code.bind("_explain", explainer(contract, steps_by_line))
    # No builtins by name: the code's own names all begin with "_". C functions import lazily by this one.
    namespace: dict[str, Any] = {"__builtins__": {"__import__": builtins.__import__}, **code.constants}
    file = f"<pipeline of {contract.stream} v{contract.version}>"
    exec(builtins.compile(source, file, "exec"), namespace)  # noqa: S102 - the source is ours: see steps/code.py
    code.check_names(namespace["process"].__code__)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return Pipeline(contract, plan, source, namespace["process"], tuple(code.memories))


def _assemble(code: Code) -> tuple[str, list[str]]:
    """The whole source, and for each of its lines the step that wrote it."""
    head = _HEAD + "".join(f"{INDENT}{line}\n" for line in code.opening) + _LOOP
    body = "".join(f"{INDENT * 3}{line}\n" for line in code.lines)
    return head + body + _TAIL, [""] * head.count("\n") + code.steps_by_line
