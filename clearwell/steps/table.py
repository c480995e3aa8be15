"""Every cleaning step, in the order of the reference page. A new one is a class and a line here."""

from __future__ import annotations

from clearwell.steps.categories import Label, OneHot
from clearwell.steps.convert import Cast, ParseTime
from clearwell.steps.duplicates import Deduplicate
from clearwell.steps.missing import DropWhen, Fill, Require
from clearwell.steps.outliers import Bounds, IqrOutlier, ZscoreOutlier
from clearwell.steps.python import Python
from clearwell.steps.scaling import DecimalScale, MinMax, Zscore
from clearwell.steps.shape import Derive, DropField, Rename
from clearwell.steps.step import Step
from clearwell.steps.text import Lower, Normalize, Replace, Trim, Upper

STEPS: tuple[type[Step], ...] = (
    Require,
    DropWhen,
    Fill,
    Bounds,
    ZscoreOutlier,
    IqrOutlier,
    Deduplicate,
    Trim,
    Lower,
    Upper,
    Normalize,
    Replace,
    Cast,
    ParseTime,
    Label,
    OneHot,
    Zscore,
    MinMax,
    DecimalScale,
    Derive,
    Rename,
    DropField,
    Python,
)

BY_VERB: dict[str, type[Step]] = {step.verb: step for step in STEPS}
