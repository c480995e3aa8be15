"""Feature views in the language: what is read, and what is refused with its line and the nearest spelling."""

from __future__ import annotations

from datetime import timedelta

import pytest

from clearwell.contract.feature_language import spelled
from clearwell.contract.feature_views import views_of
from clearwell.contract.features import Aggregate, FeatureView, Window
from clearwell.contract.model import Type
from clearwell.contract.routes import check_shared
from clearwell.errors import ContractError
from clearwell.steps import bind
from clearwell.testing.contracts import minimal_contract as contract
from clearwell.testing.contracts import minimal_text as text

FIELDS = """\
  shop: {type: string}
  paid: {type: decimal, precision: 12, scale: 2}
  email: {type: string, privacy: encrypt}
  visitor: {type: string, privacy: pseudonym}
  age: {type: int32, privacy: {generalise: 10}}
  more: {type: json}
  tags: {type: list, items: string}
"""
ROUTE = """\
routes:
  - to: features.shops
    entity: {name: shop_n, keys: [shop, n]}
    ttl: 30d
    lateness: 2h
    features:
      last_paid: paid
      visits_24h: {count: id, window: 24h, slide: 1h}
      paid_7d: {sum: paid, window: 7d, slide: 90m}
      visitors_1d: {distinct: id, window: 1d}
"""


def views(route: str) -> tuple[FeatureView, ...]:
    """Of MINIMAL with FIELDS and `route`; its first line is line 18 of the file."""
    read = contract(FIELDS + route)
    return views_of(read, bind(read).schema)


def test_a_view_is_read() -> None:
    (view,) = views(ROUTE.replace("90m", "12h"))
    assert (view.name, view.stream, view.event_time) == ("shops", "visits", "at")
    assert (view.entity.name, [key.name for key in view.entity.keys]) == ("shop_n", ["shop", "n"])
    assert (view.ttl, view.lateness, view.ahead) == (timedelta(days=30), timedelta(hours=2), timedelta(days=1))
    assert [(one.name, one.aggregate, one.type) for one in view.features] == [
        ("last_paid", None, Type.DECIMAL),
        ("visits_24h", Aggregate.COUNT, Type.INT64),
        ("paid_7d", Aggregate.SUM, Type.DECIMAL),
        ("visitors_1d", Aggregate.DISTINCT, Type.INT64),
    ]
    assert view.features[2].window == Window(timedelta(days=7), timedelta(hours=12))
    assert view.features[3].window is not None and view.features[3].window.tumbling
    assert view.tile == timedelta(hours=1)


def test_a_digest_differs_where_values_could() -> None:
    route = ROUTE.replace("90m", "12h")
    changes = [
        ("24h, slide: 1h", "12h, slide: 1h"),
        ("ttl: 30d", "ttl: 40d"),
        ("count: id", "count: n"),
        ("shops", "s2"),
    ]
    digests = {views(route.replace(*change))[0].digest() for change in [("", ""), *changes]}
    assert len(digests) == 5
    assert views(route)[0].digest() == views(route)[0].digest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[shop, n]", "[shopp, n]", r':20: The clean event has no field "shopp". Did you mean "shop"?'),
        ("[shop, n]", "[email, n]", ':20: "email" is protected, so an entity'),
        ("[shop, n]", "[more, n]", ':20: "more" is a json, so an entity'),
        ("[shop, n]", "[n, n]", ':20: "n" is there twice'),
        ("ttl: 30d", "ttl: 30x", ':21: `ttl` of the route to features.shops is "30x", but must be a duration'),
        ("ttl: 30d", "tll: 30d", ':21: the route to features.shops has no key "tll". Did you mean "ttl"?'),
        ("ttl: 30d", "ttl: 7d", "`ttl` is shorter than the longest window"),
        ("last_paid: paid", "last_paid: payd", ':24: The clean event has no field "payd". Did you mean "paid"?'),
        ("last_paid: paid", "last_paid: email", ':24: "email" is encrypted'),
        ("last_paid: paid", "last_paid: visitor", ':24: "visitor" is protected (pseudonym): write `allow_protected'),
        ("last_paid: paid", "last_paid: age", ':24: "age" is protected (generalise)'),
        ("last_paid: paid", "last_paid: more", ':24: "more" is json'),
        ("last_paid: paid", "n: paid", ':24: The feature "n" has the name of an entity key'),
        ("last_paid: paid", "event_timestamp: paid", "Feast's own"),
        ("last_paid: paid", "Visits_24h: paid", "differ only in case"),
        ("last_paid: paid", f"{'x' * 60}a: paid\n      {'x' * 60}b: n", "are the same in the 63 bytes of a name"),
        ("last_paid: paid", "visits_24h: paid", '"visits_24h" is written twice'),
        ("count: id", "cuont: id", ':25: feature "visits_24h" has no key "cuont". Did you mean "count"?'),
        ("count: id", "sum: id", ':25: "id" is a string, and sum is of numbers.'),
        ("count: id", "max: shop", ':25: "shop" is a string, and max is of numbers, timestamps and dates.'),
        ("count: id", "last: tags", ':25: "tags" is a list, and last is of scalars.'),
        ("count: id, window: 24h, slide: 1h", "count: id, sum: n, window: 24h", "needs exactly one of count"),
        ("count: id, window: 24h, slide: 1h", "count: id", "needs a window"),
        ("slide: 1h", "slide: 7h", ':25: feature "visits_24h" has a window that is not a multiple of its slide.'),
        ("slide: 1h", "slide: 48h", "not a multiple of its slide"),
        ("window: 24h, slide: 1h", "window: 600d, slide: 1h", "more than 10000 of the view's tiles"),
        ("to: features.shops", "to: features", ":19: A route to features needs a name"),
        ("entity: {name: shop_n, keys: [shop, n]}\n    ttl", "ttl", 'lacks the key "entity"'),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, said: str) -> None:
    right = ROUTE.replace("90m", "12h")
    assert old in right
    with pytest.raises(ContractError) as caught:
        views(right.replace(old, new))
    assert said in str(caught.value)


def test_a_slide_must_divide_its_window() -> None:
    with pytest.raises(ContractError, match='"paid_7d" has a window that is not a multiple'):
        views(ROUTE.replace("7d, slide: 90m", "7d, slide: 11h"))


def test_protected_fields_by_leave() -> None:
    route = ROUTE.replace("90m", "12h").replace("last_paid: paid", "who: visitor")
    (view,) = views(route.replace("ttl: 30d", "allow_protected: [visitor]"))
    assert view.features[0].type is Type.STRING
    with pytest.raises(ContractError, match='"n" is not protected'):
        views(route.replace("ttl: 30d", "allow_protected: [visitor, n]"))
    (view,) = views(ROUTE.replace("90m", "12h").replace("count: id", "count: email"))  # a count reveals no value
    (view,) = views(ROUTE.replace("90m", "12h").replace("{name: shop_n, keys: [shop, n]}", "visitor"))
    assert view.entity.name == "visitor"


def test_two_streams_can_not_fill_one_view() -> None:
    one = contract(FIELDS + ROUTE.replace("90m", "12h"))
    other = contract(FIELDS + ROUTE.replace("90m", "12h").replace("shop_n", "other"), stream="sales")
    with pytest.raises(ContractError, match=r'"shops" in features\.shops holds the stream "visits" already'):
        check_shared([one, other])


def test_durations_are_spelled_as_they_are_written() -> None:
    for hours, text_ in ((168, "7d"), (24, "1d"), (36, "36h"), (0.5, "30m"), (1 / 3600, "1s")):
        assert spelled(timedelta(hours=hours)) == text_


def test_the_text_of_the_tests_has_the_lines_they_name() -> None:
    assert text(FIELDS + ROUTE).splitlines()[18].strip() == "- to: features.shops"
