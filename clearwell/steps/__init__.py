"""The cleaning vocabulary. `bind` turns the steps of a contract into a plan that the pipeline compiles."""

from clearwell.steps.plan import BoundStep, StepPlan, bind

__all__ = ["BoundStep", "StepPlan", "bind"]
