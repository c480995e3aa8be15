"""What each step does to values and to nulls, through the real pipeline."""

from __future__ import annotations

import pytest

from clearwell.pipeline import Rejected


def rejected(got, step, field, reason):
    """Whether `got` is a rejection by this step."""
    return isinstance(got, Rejected) and (got.step, got.field) == (step, field) and reason in got.reason


def test_require(things):
    t = things("n: {type: int32}", ["require: {fields: [n]}"])
    assert t.value("n", n=0) == 0
    assert rejected(t.one(), "1.require", "n", "n is missing")
    assert t.pipeline.schema.field("n").required


@pytest.mark.parametrize(
    ("when", "event", "dropped"),
    [
        ("{field: s, eq: x}", {"s": "x"}, True),
        ("{field: s, eq: x}", {}, False),
        ("{field: s, ne: x}", {"s": "y"}, True),
        ("{field: s, ne: x}", {}, False),
        ("{not: {field: s, eq: x}}", {}, True),
        ("{field: n, in: [1, 2]}", {"n": 2}, True),
        ("{field: n, lt: 0}", {"n": -1}, True),
        ("{field: n, gte: 5}", {}, False),
        ("{field: s, exists: false}", {}, True),
        ("{field: at, gt: '2013-01-01T00:00:00Z'}", {}, True),
        ("{field: d, lte: '1.50'}", {"d": "1.5"}, True),
        ("{all: [{field: n, gt: 0}, {any: [{field: s, eq: x}, {field: s, eq: y}]}]}", {"n": 1, "s": "y"}, True),
        ("{all: [{field: n, gt: 0}, {field: s, eq: x}]}", {"n": 1, "s": "y"}, False),
    ],
)
def test_drop_when(things, when, event, dropped):
    t = things(
        "n: {type: int32}\ns: {type: string, privacy: encrypt}\nd: {type: decimal}", [f"drop_when: {{when: {when}}}"]
    )
    assert (t.one(**event) == "1.drop_when") is dropped


@pytest.mark.parametrize(
    ("field", "how", "filled"),
    [
        ("n: {type: int32}", "median: 7", 7),
        ("n: {type: float64}", "mean: 7", 7.0),
        ("n: {type: string}", "mode: x", "x"),
        ("n: {type: timestamp}", "constant: '2013-01-01T00:00:00+01:00'", "2012-12-31T23:00:00Z"),
        ("n: {type: decimal}", "constant: '0.0000001'", "0.0000001"),
        ("n: {type: bool}", "constant: false", False),
        ("n: {type: int32, min: 5}", "constant: -1", -1),
    ],
)
def test_fill_with_a_given_value(things, field, how, filled):
    t = things(field, [f"fill: {{field: n, {how}}}"])
    assert t.value("n") == filled
    assert t.pipeline.schema.field("n").required


def test_the_previous_value_is_the_entitys_own(things):
    """Readings of two stations in turn: neither ever gets the other's, and an event of no station gets none."""
    fields = "station: {type: string}\nsensor: {type: int32}\nn: {type: int32}"
    t = things(fields, ["fill: {field: n, previous: 100, by: [station, sensor]}"])
    long = "s" * 100_000
    for station, n, filled in [
        ("a", 1, 1), ("b", 2, 2), ("a", None, 1), ("b", None, 2), ("c", None, None), (None, 9, 9), (None, None, None),
        (long, 3, 3), (long + "x", None, None), (long, None, 3), ("a", None, 1),
    ]:  # fmt: skip
        assert t.value("n", station=station, sensor=1, n=n) == filled
    assert t.value("n", station="a", sensor=2) is None
    memory = t._state.memories[0]
    assert all(len(key[0]) < 100 for key in memory.now)  # what a sender chooses is not what memory it takes


def test_fill_with_the_previous_value_within_its_reach(things):
    t = things("n: {type: int32}\ne: {type: bool, required: true}", ["fill: {field: n, previous: 3, by: [e]}"])
    assert t.value("n", e=True) is None
    assert t.value("n", n=5, e=True) == 5
    assert t.value("n", e=True) == 5
    assert t.value("n", e=True) == 5
    assert t.value("n", e=True) == 5
    assert t.value("n", e=True) is None  # filled-in values don't count as values
    assert t.pipeline.lookback == 3


@pytest.mark.parametrize(
    ("action", "given", "clean"), [("reject", 5, 5), ("clip", 11, 10), ("clip", -1, 0), ("clip", None, None)]
)
def test_bounds(things, action, given, clean):
    t = things("n: {type: int32}", [f"bounds: {{field: n, min: 0, max: 10, action: {action}}}"])
    assert t.value("n", n=given) == clean
    assert (t.pipeline.schema.field("n").minimum, t.pipeline.schema.field("n").maximum) == (0, 10)


def test_bounds_rejects_and_flags(things):
    t = things("n: {type: float64}", ["bounds: {field: n, max: 10}"])
    assert rejected(t.one(n=10.5), "1.bounds", "n", "n is above 10.0")
    flags = things("n: {type: float64}", ["bounds: {field: n, max: 10, action: flag}"])
    assert [flags.value("n_outlier", n=n) for n in (10, 10.5, None)] == [False, True, None]


def test_bounds_on_times_and_decimals(things):
    t = things(
        "d: {type: decimal}", ["bounds: {field: at, min: '2013-01-01T00:00:00Z'}", "bounds: {field: d, max: '2'}"]
    )
    assert rejected(t.one(at="2012-12-31T23:59:59Z"), "1.bounds", "at", "below 2013-01-01T00:00:00Z")
    assert rejected(t.one(d="2.01"), "2.bounds", "d", "above 2")
    assert t.value("d", d="2.00") == "2.00"


def test_zscore_outlier(things):
    t = things("n: {type: int32}", ["zscore_outlier: {field: n, mean: 10, std: 2, k: 1.3, action: clip}"])
    assert [t.value("n", n=n) for n in (7, 8, 12, 13)] == [8, 8, 12, 12]  # 7.4 to 12.6, rounded inwards


def test_iqr_outlier(things):
    t = things("n: {type: float64}", ["iqr_outlier: {field: n, q1: 1, q3: 3, action: flag, into: odd}"])
    assert [t.value("odd", n=n) for n in (-2, -2.1, 6, 6.1)] == [False, True, False, True]


def test_deduplicate(things):
    t = things("n: {type: int32}", ["deduplicate: {by: id, window: 3}", "bounds: {field: n, max: 1}"])
    assert isinstance(t.one(id="a", n=9), Rejected)
    assert isinstance(t.one(id="a", n=1), dict)  # the repaired copy of a dead letter is no repeat
    assert t.one(id="a", n=1) == "1.deduplicate"
    assert t.at(5).one(id="a") == "1.deduplicate"  # a repeat counts as seen
    assert isinstance(t.at(9).one(id="a"), dict)


def test_deduplicate_lets_nulls_pass(things):
    t = things("n: {type: int32}", ["deduplicate: {by: n, window: 3}"])
    assert [isinstance(t.one(), dict) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    ("step", "given", "clean"),
    [
        ("trim: {fields: [s]}", " \t\u00a0a b\n", "a b"),
        ("trim: {fields: [s]}", None, None),
        ("lower: {fields: [s]}", "ÀB", "àb"),
        ("upper: {fields: [s]}", "straße", "STRASSE"),
        ("normalize: {fields: [s], form: NFC}", "e\u0301", "é"),
        ("normalize: {fields: [s], form: NFKC}", "ﬁ", "fi"),
        ("normalize: {fields: [s]}", "abc", "abc"),
        ('replace: {fields: [s], pattern: "[^0-9]", with: ""}', "+1 (2)", "12"),
        (r"replace: {fields: [s], pattern: a, with: '\1\g<0>'}", "bab", r"b\1\g<0>b"),
    ],
)
def test_text(things, step, given, clean):
    assert things("s: {type: string}", [step]).value("s", s=given) == clean


@pytest.mark.parametrize(
    ("kind", "to", "given", "clean"),
    [
        ("string", "int32", "-12", -12),
        ("string", "int64", "9223372036854775807", 2**63 - 1),
        ("string", "float64", "1e3", 1000.0),
        ("string", "decimal", "1.50", "1.50"),
        ("string", "bool", "true", True),
        ("string", "date", "2013-01-31", "2013-01-31"),
        ("string", "timestamp", "2013-01-31T00:00:00+01:00", "2013-01-30T23:00:00Z"),
        ("int64", "int32", 5, 5),
        ("int64", "float64", 2**53, 2.0**53),
        ("int32", "string", -5, "-5"),
        ("int32", "decimal", 5, "5"),
        ("float64", "int32", 5.0, 5),
        ("float64", "decimal", 1e-7, "0.0000001"),
        ("float64", "string", 0.1, "0.1"),
        ("decimal", "float64", "0.1", 0.1),
        ("decimal", "int64", "12.00", 12),
        ("decimal", "string", "12.50", "12.50"),
        ("bool", "int32", True, 1),
        ("bool", "string", False, "false"),
        ("timestamp", "string", "2013-01-31T01:00:00+01:00", "2013-01-31T00:00:00Z"),
        ("date", "timestamp", "2013-01-31", "2013-01-31T00:00:00Z"),
        ("date", "string", "2013-01-31", "2013-01-31"),
        ("string", "int32", None, None),
    ],
)
def test_cast_is_exact(things, kind, to, given, clean):
    t = things(f"x: {{type: {kind}}}", [f"cast: {{field: x, to: {to}}}"])
    assert t.value("x", x=given) == clean
    assert t.pipeline.schema.field("x").type == to


@pytest.mark.parametrize(
    ("kind", "to", "given"),
    [
        ("string", "int32", "2147483648"),
        ("string", "int32", "1.0"),
        ("string", "int32", " 1"),
        ("string", "int32", "٣"),
        ("string", "int64", "9" * 5000),
        ("string", "float64", "1e999"),
        ("string", "float64", "nan"),
        ("string", "float64", "1_0"),
        ("string", "decimal", "1e2"),
        ("string", "bool", "True"),
        ("string", "date", "2013-02-30"),
        ("string", "timestamp", "2013-01-31T00:00:00"),
        ("int64", "int32", 2**31),
        ("int64", "float64", 2**53 + 1),
        ("float64", "int32", 0.5),
        ("float64", "int64", 1e300),
        ("float64", "decimal", 1e-12),
        ("decimal", "int32", "0.5"),
        ("decimal", "float64", "0.10000000000000000000000001"),
    ],
)
def test_what_can_not_be_cast_exactly_is_rejected(things, kind, to, given):
    t = things(f"x: {{type: {kind}{', scale: 30' if kind == 'decimal' else ''}}}", [f"cast: {{field: x, to: {to}}}"])
    assert rejected(t.one(x=given), "1.cast", "x", f"x is not exactly {to}")


@pytest.mark.parametrize(
    ("kind", "how", "given", "clean"),
    [
        ("string", '"%d/%m/%Y %H:%M", zone: America/New_York', "01/07/2013 10:00", "2013-07-01T14:00:00Z"),
        ("string", '"%d/%m/%Y %H:%M", zone: America/New_York', "03/11/2013 01:30", "2013-11-03T05:30:00Z"),
        ("string", '"%Y%m%dT%H%M%S%z"', "20130701T100000+0200", "2013-07-01T08:00:00Z"),
        ("int64", "unix_seconds", -1, "1969-12-31T23:59:59Z"),
        ("int64", "unix_milliseconds", 1500, "1970-01-01T00:00:01.500000Z"),
        ("string", '"%Y", zone: UTC', None, None),
        ("string", '"%Y-%m-%dT%H:%M:%S.%f", zone: UTC', "2024-01-01T10:00:00", "2024-01-01T10:00:00Z"),
        ("string", '"%Y-%m-%dT%H:%M:%S.%f", zone: UTC', "2024-01-01T10:00:00.5", "2024-01-01T10:00:00.500000Z"),
        ("string", '"%Y-%m-%dT%H:%M:%S.%f", zone: UTC', "2024-01-01T10:00:00.123456789", "2024-01-01T10:00:00.123456Z"),
        ("string", '"%d.%m.%Y %H:%M:%S,%f%z"', "01.02.2024 10:00:00+0100", "2024-02-01T09:00:00Z"),
        ("string", "iso8601, zone: Europe/Berlin", "2024-07-01T10:00:00", "2024-07-01T08:00:00Z"),
        ("string", "iso8601, zone: Europe/Berlin", "2024-07-01 10:00:00.123456789", "2024-07-01T08:00:00.123456Z"),
        ("string", "iso8601, zone: Europe/Berlin", "2024-07-01T10:00:00,5Z", "2024-07-01T10:00:00.500000Z"),
        ("string", "iso8601, zone: Europe/Berlin", "2024-07-01", "2024-06-30T22:00:00Z"),
        ("string", "iso8601", "2024-07-01t10:00 +02", "2024-07-01T08:00:00Z"),
        ("string", "iso8601", "20240701T100000-0330", "2024-07-01T13:30:00Z"),
        ("int64", "unix_nanoseconds", 1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456Z"),
        ("int64", "unix_nanoseconds", -1, "1969-12-31T23:59:59.999999Z"),
        ("float64", "unix_seconds", 1700000000.123456, "2023-11-14T22:13:20.123456Z"),
        ("float64", "unix_seconds", -0.000001, "1969-12-31T23:59:59.999999Z"),
        ("float64", "unix_milliseconds", 1.5, "1970-01-01T00:00:00.001500Z"),
        ("float64", "unix_seconds", 1700000000, "2023-11-14T22:13:20Z"),
        ("decimal, scale: 9", "unix_seconds", "1700000000.123456499", "2023-11-14T22:13:20.123456Z"),
    ],
)
def test_parse_time(things, kind, how, given, clean):
    assert things(f"x: {{type: {kind}}}", [f"parse_time: {{field: x, format: {how}}}"]).value("x", x=given) == clean


@pytest.mark.parametrize(
    ("kind", "how", "given"),
    [
        ("string", '"%d/%m/%Y %H:%M", zone: America/New_York', "10/03/2013 02:30"),  # clocks jump over it
        ("string", '"%d/%m/%Y", zone: UTC', "31/02/2013"),
        ("string", '"%Y-%m-%d %z"', "0001-01-01 +0500"),
        ("int64", "unix_seconds", 2**62),
        ("float64", "unix_seconds", 1e300),
        ("string", "iso8601", "2024-07-01T10:00:00"),  # neither an offset nor a zone
        ("string", "iso8601, zone: UTC", "2024-07-01x10:00"),
        ("string", "iso8601, zone: UTC", "2024-02-30"),
        ("string", "iso8601, zone: UTC", "2024-07-01T24:30:00Z"),
        ("string", "iso8601, zone: UTC", "2024-07-01T10:00:00Z "),
        ("string", "iso8601, zone: Europe/Berlin", "2024-03-31T02:30:00"),  # clocks jump over it
        ("string", '"%Y-%m-%dT%H:%M:%S.%f", zone: UTC', "2024-01-01T10:00:00."),
    ],
)
def test_times_that_are_none_are_rejected(things, kind, how, given):
    t = things(f"x: {{type: {kind}}}", [f"parse_time: {{field: x, format: {how}}}"])
    assert rejected(t.one(x=given), "1.parse_time", "x", "not a time in the declared format")


def test_label(things):
    codes = "codes: {a: 0, b: 7}"
    rejecting = things("s: {type: string}", [f"label: {{field: s, {codes}}}"])
    assert [rejecting.value("s", s=s) for s in ("a", "b", None)] == [0, 7, None]
    assert rejected(rejecting.one(s="c"), "1.label", "s", "not a listed category")
    assert things("s: {type: string}", [f"label: {{field: s, {codes}, unknown: -1}}"]).value("s", s="c") == -1
    nulling = things("s: {type: string, required: true}", [f"label: {{field: s, {codes}, unknown: null, into: k}}"])
    assert [nulling.value("k", s=s) for s in ("b", "c")] == [7, None]
    assert not nulling.pipeline.schema.field("k").required


def test_a_label_into_a_new_field_is_null_again_after_an_event_with_a_value(things):
    t = things("s: {type: string}", ["label: {field: s, codes: {a: 1}, into: k}"])
    assert [t.value("k", s="a"), t.value("k")] == [1, None]


def test_one_hot(things):
    t = things("s: {type: string}", ['one_hot: {field: s, categories: [A b, "c"]}'])
    assert [(e["s_a_b"], e["s_c"]) for e in (t.one(s="A b"), t.one(s="c"), t.one())] == [(1, 0), (0, 1), (None, None)]
    assert rejected(t.one(s="d"), "1.one_hot", "s", "not a listed category")
    zeros = things("s: {type: string}", ["one_hot: {field: s, categories: [a], unknown: zeros, prefix: is}"])
    assert zeros.value("is_a", s="d") == 0


@pytest.mark.parametrize(
    ("step", "given", "clean"),
    [
        ("zscore: {field: x, mean: 10, std: 4}", 12, 0.5),
        ("min_max: {field: x, min: -10, max: 10}", 20, 1.5),
        ("min_max: {field: x, min: -10, max: 10, clip: true}", 20, 1.0),
        ("min_max: {field: x, min: -10, max: 10, clip: true}", -20, 0.0),
        ("min_max: {field: x, min: -10, max: 10, clip: true}", 0, 0.5),
        ("decimal_scale: {field: x, digits: 3}", 1500, 1.5),
        ("zscore: {field: x, mean: 10, std: 4}", None, None),
    ],
)
@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_scaling(things, step, given, clean, kind):
    t = things(f"x: {{type: {kind}}}", [step])
    assert t.value("x", x=given) == clean
    into = things(f"x: {{type: {kind}}}", [step.replace("}", ", into: y}")])
    event = into.one(x=given)
    assert (event["x"], event["y"]) == (given, clean)


def test_infinity_never_leaves(things):
    t = things("x: {type: float64}\ny: {type: float64}", ["zscore: {field: x, mean: -1e308, std: 1}"])
    assert rejected(t.one(x=1e308), "1.zscore", "x", "x does not fit float64")
    added = things("x: {type: float64}\ny: {type: float64}", ["derive: {field: z, sum: [x, y]}"])
    assert rejected(added.one(x=1e308, y=1e308), "1.derive", "z", "z does not fit float64")
    divided = things("x: {type: float64}\ny: {type: float64}", ["derive: {field: z, ratio: [x, y]}"])
    assert rejected(divided.one(x=1e308, y=1e-308), "1.derive", "z", "z does not fit float64")


@pytest.mark.parametrize(
    ("how", "event", "clean"),
    [
        ("sum: [n, m, n]", {"n": 2**31 - 1, "m": 1}, 2**32 - 1),
        ("difference: [n, m]", {"n": -(2**31), "m": 2**31 - 1}, -(2**32) + 1),
        ("product: [n, m]", {"n": -(2**31), "m": -(2**31)}, 2**62),
        ("sum: [n, f]", {"n": 1, "f": 0.5}, 1.5),
        ("sum: [d, n]", {"d": "0.1", "n": 3}, "3.1"),
        ("product: [d, d]", {"d": "0.000000001"}, "0.000000000000000001"),
        ("sum: [d]", {"d": "1.10"}, "1.10"),
        ("difference: [at, was]", {"was": "2013-01-01T09:59:58.5Z"}, 1.5),
        ("ratio: [n, m]", {"n": 1, "m": 4}, 0.25),
        ("ratio: [n, m]", {"n": 1, "m": 0}, None),
        ("ratio: [n, f]", {"n": 1, "f": -0.0}, None),
        ("sum: [n, m]", {"n": 1}, None),
        ('concat: [s, n, day], separator: "-"', {"s": "é", "n": 1, "day": "2013-01-02"}, "é-1-2013-01-02"),
        ("concat: [s]", {"s": ""}, ""),
        ("concat: [s, id]", {}, None),
        ("part: weekday, of: day", {"day": "2013-01-06"}, 7),
        ("part: week, of: day", {"day": "2012-12-31"}, 1),
        ("part: day_of_year, of: day", {"day": "2012-12-31"}, 366),
        ("part: quarter, of: day", {"day": "2012-04-01"}, 2),
        ("part: hour, of: at", {}, 10),
        ("part: hour, of: at, zone: Asia/Kolkata", {}, 15),
        ("part: minute, of: at, zone: Asia/Kolkata", {}, 30),
    ],
)
def test_derive(things, how, event, clean):
    fields = "n: {type: int32}\nm: {type: int32}\nf: {type: float64}\nd: {type: decimal}\ns: {type: string}\n"
    t = things(fields + "day: {type: date}\nwas: {type: timestamp}", [f"derive: {{field: made, {how}}}"])
    assert t.value("made", **event) == clean


@pytest.mark.parametrize("how", ["sum: [big, big]", "product: [big, n]", "difference: [n, big]"])
def test_an_integer_that_does_not_fit_is_rejected_not_wrapped(things, how):
    t = things("big: {type: int64}\nn: {type: int32}", [f"derive: {{field: made, {how}}}"])
    low = -(2**63)
    assert rejected(t.one(big=low, n=2), "1.derive", "made", "made does not fit int64")


def test_a_decimal_that_does_not_fit_is_rejected_not_rounded(things):
    t = things("d: {type: decimal, scale: 20}", ["derive: {field: made, product: [d, d]}"])
    assert rejected(t.one(d="0.00000000000000000001"), "1.derive", "made", "made does not fit decimal")


def test_a_ratio_may_refuse_zero(things):
    t = things("n: {type: int32, required: true}", ["derive: {field: r, ratio: [n, n], by_zero: reject}"])
    assert rejected(t.one(n=0), "1.derive", "n", "n is zero")
    assert t.pipeline.schema.field("r").required


def test_rename_and_drop_field(things):
    t = things("a: {type: int32}\nb: {type: int32}", ["rename: {a: c}", "drop_field: {fields: [b]}", "rename: {c: b}"])
    assert t.one(a=1, b=2) == {"id": "e0", "at": "2013-01-01T10:00:00Z", "b": 1}


def test_steps_see_what_the_steps_before_them_made(things):
    t = things(
        "s: {type: string}", ["trim: {fields: [s]}", "cast: {field: s, to: int32}", "derive: {field: t, sum: [s, s]}"]
    )
    assert t.value("t", s=" 4 ") == 8
