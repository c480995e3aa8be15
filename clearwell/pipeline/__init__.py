"""Contract → one compiled function over a batch of raw events; see `compile` in `clearwell.pipeline.compiler`."""

from clearwell.pipeline.batch import Outcomes, RawBatch, Rejected

__all__ = ["Outcomes", "RawBatch", "Rejected"]
