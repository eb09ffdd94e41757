"""`subset`: who matches gets the message, whatever the policy inside."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from typing import Any

import pytest

from tests.policies.inside import asking, choosy
from txrouter.chains import chain
from txrouter.policies import pull, round_robin, subset, weighted
from txrouter.policies.subset import text_of
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

PLENTY = 1_000_000


def around(policy: Any = pull.factory, **options: Any) -> FakeRouter:
    """A router with that policy, and the wrapper around it."""
    factory = chain((subset.wrapper,), policy)
    return FakeRouter(factory.build(factory.options(subset=subset.Options(**options)), random.Random(1)))


def attach(router: FakeRouter, id: str, value: object = None, credit: int = PLENTY, **more: Any) -> FakeConsumer:
    """A consumer that takes this."""
    properties = {} if value is None else {"subset": value}
    return router.attach(id, credit=credit, properties=properties, **more)


def of(value: object = None, **more: Any) -> FakeDelivery:
    """A message with that value."""
    properties = {} if value is None else {"subset": value}
    return FakeDelivery(application_properties=properties, **more)


def sent(router: FakeRouter, *values: object) -> str:
    """Who gets messages of these values."""
    takers = (router.send(of(value)) for value in values)
    return "".join("-" if consumer is None else consumer.id for consumer in takers)


# -- who matches -------------------------------------------------------------------------------------------------------


def test_only_who_takes_its_value_gets_a_message() -> None:
    router = around()
    attach(router, "a", "red")
    attach(router, "b", "blue")
    assert sent(router, "red", "blue", "blue", "red") == "abba"


def test_among_those_who_take_it_the_policy_inside_chooses() -> None:
    router = around(round_robin.factory)
    for id in "abc":
        attach(router, id, "red")
    attach(router, "z", "blue")
    assert sent(router, *["red"] * 6) == "abcabc"


def test_a_consumer_can_take_several_values() -> None:
    router = around()
    attach(router, "a", " red, green ,,")
    attach(router, "b", "blue")
    assert sent(router, "red", "green", "blue") == "aab"


def test_of_those_who_take_it_among_others_who_has_less_in_flight_is_chosen() -> None:
    router = around()
    attach(router, "a", "red", in_flight=2)
    attach(router, "b", "red,blue", in_flight=1)
    assert sent(router, "red") == "b"
    assert Counter(sent(router, *["red"] * 6)) == {"a": 3, "b": 3}


def test_what_is_in_flight_is_divided_by_capacity() -> None:
    router = around()
    attach(router, "a", "red", in_flight=3, capacity=4.0)
    attach(router, "b", "red,blue", in_flight=1)
    assert sent(router, "red") == "a"


def test_who_has_no_credit_captures_nothing() -> None:
    router = around()
    attach(router, "a", "red", credit=0)
    attach(router, "b", "red,blue", in_flight=50)
    assert sent(router, "red") == "b"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("7", 7),
        (7, "7"),
        (True, True),
        ("true", True),
        (b"x", "x"),
        (1.5, "1.5"),
        (f"{uuid.UUID(int=1)}", uuid.UUID(int=1)),
    ],
)
def test_values_are_compared_as_texts(given: object, value: object) -> None:
    router = around()
    attach(router, "a", given)
    attach(router, "b", "other")
    assert sent(router, value) == "a"


@pytest.mark.parametrize("value", [None, {}, [], object(), "", "  "])
def test_what_is_no_value_is_none(value: object) -> None:
    assert text_of(value) == ""


# -- where the value is ------------------------------------------------------------------------------------------------


def test_the_properties_can_have_other_names() -> None:
    router = around(property="region", key="property:where")
    router.attach("a", credit=9, properties={"region": "eu"})
    router.attach("b", credit=9, properties={"region": "us"})
    taken = [router.send(FakeDelivery(application_properties={"where": where})) for where in ("us", "eu")]
    assert [consumer.id for consumer in taken if consumer is not None] == ["b", "a"]


@pytest.mark.parametrize("key", ["subject", "group-id", "content-type", "user-id", "to"])
def test_the_value_can_be_a_field_of_the_message(key: str) -> None:
    router = around(key=key)
    attach(router, "a", "red")
    attach(router, "b", "blue")
    consumer = router.send(FakeDelivery({key.replace("-", "_"): "blue"}))
    assert consumer is router.consumers["b"]


# -- those that say nothing --------------------------------------------------------------------------------------------


def test_who_says_nothing_takes_everything() -> None:
    router = around()
    attach(router, "a", "red", credit=1)
    attach(router, "z")
    assert sent(router, "red", "red", "blue") == "azz"


def test_who_says_nothing_takes_only_what_says_nothing_if_it_is_so_configured() -> None:
    router = around(generalists=False)
    attach(router, "a", "red", credit=1)
    attach(router, "z")
    assert sent(router, "red", "red") == "a-"
    assert sent(around(generalists=False), "red") == "-"


def test_a_message_that_says_nothing_is_for_all() -> None:
    router = around()
    for id, value in ("a", "red"), ("b", "blue"), ("c", None):
        attach(router, id, value)
    assert Counter(sent(router, *[None] * 9)) == {"a": 3, "b": 3, "c": 3}


def test_the_policy_over_all_sees_what_those_of_the_values_send() -> None:
    router = around()
    attach(router, "a", "red")
    attach(router, "b", "blue")
    assert sent(router, None) == "a"
    sent(router, *["blue"] * 9)
    assert sent(router, *[None] * 8) == "aaaaaaaa"
    router.settle(router.consumers["b"])
    router.settle(router.consumers["b"])
    assert sent(router, None) == "b"


def test_those_of_the_values_see_what_the_policy_over_all_sends() -> None:
    router = around()
    attach(router, "a", "red")
    attach(router, "b", "red")
    attach(router, "c", "blue")
    sent(router, None)
    first = next(consumer for consumer in router.consumers.values() if consumer.in_flight)
    assert first.id == "a"
    assert sent(router, "red") == "b"


def test_where_all_say_the_same_no_policy_over_all_is_needed() -> None:
    router = around()
    attach(router, "a", "red")
    assert sent(router, None) == "a"
    assert "all" not in router.policy.describe()


def test_who_has_left_gets_nothing() -> None:
    router = around()
    red = attach(router, "a", "red")
    attach(router, "b", "blue")
    sent(router, None, "red")
    router.detach(red)
    assert sent(router, None, "blue", "red") == "bb-"


# -- what nobody takes -------------------------------------------------------------------------------------------------


def test_what_nobody_takes_is_held_and_lets_others_pass() -> None:
    router = around()
    attach(router, "b", "blue")
    assert sent(router, "red", "blue") == "-b"
    red = attach(router, "a", "red")
    assert red.in_flight == 1


def test_what_nobody_has_credit_for_lets_others_pass() -> None:
    router = around()
    red = attach(router, "a", "red", credit=0)
    attach(router, "b", "blue")
    assert sent(router, "red", "blue") == "-b"
    router.grant(red, 1)
    assert red.in_flight == 1


def test_the_values_that_nobody_takes_are_told() -> None:
    router = around()
    attach(router, "b", "blue")
    sent(router, "red", "green")
    assert router.policy.describe()["nobody_for"] == ["red", "green"]
    attach(router, "a", "green")
    assert router.policy.describe()["nobody_for"] == ["red"]


def test_only_some_of_the_values_that_nobody_takes_are_kept() -> None:
    router = around()
    attach(router, "b", "blue")
    sent(router, *range(100))
    assert router.policy.describe()["nobody_for"] == [str(number) for number in range(80, 100)]


def test_only_so_many_values_of_a_consumer_count() -> None:
    router = around()
    attach(router, "a", ",".join(map(str, range(1_000))))
    assert sent(router, 99, 100) == "a-"
    assert router.policy.describe()["cut"] == 1


# -- what is inside ----------------------------------------------------------------------------------------------------


def test_the_kinds_and_ranks_of_the_policy_inside_count_too() -> None:
    router = around(choosy)
    policy = router.policy
    attach(router, "a", "red")
    one, other = of("red", fields={"subject": "x", "priority": 3}), of("red", fields={"subject": "z"})
    assert policy.kind(one) != policy.kind(other) != policy.kind(of("blue", fields={"subject": "z"}))
    assert (policy.rank(one), policy.rank(other)) == (-3.0, 0.0)


def test_a_policy_over_all_that_came_late_hears_only_of_replies_to_what_it_saw() -> None:
    router = around(asking)
    attach(router, "a", "red")
    attach(router, "b", "blue")
    router.send(of("red", fields={"reply_to": "r", "message_id": 1}))
    router.send(of(fields={"reply_to": "r", "message_id": 2}))
    router.reply()
    router.reply()
    assert router.policy.describe()["all"]["awaited"] == {"a": 0}


def test_the_capacity_of_a_consumer_is_known_to_both_policies_that_it_has() -> None:
    router = around(weighted.factory)
    for id, value in ("a", "red"), ("b", "red"), ("c", "blue"):
        attach(router, id, value)
    sent(router, None)
    router.set_capacity(router.consumers["a"], 3.0)
    assert Counter(sent(router, *["red"] * 8)) == {"a": 6, "b": 2}
    assert router.policy.describe()["all"]["capacities"]["a"] == 3.0


def test_nothing_is_kept_of_who_has_left() -> None:
    router = around()
    for number in range(50):
        consumer = attach(router, f"c{number}", f"{number},x")
        sent(router, number, "x", None)
        if number % 2:
            for each in list(router.consumers.values()):
                router.detach(each)
        assert consumer.in_flight
    policy = router.policy
    assert (policy._groups, policy._takers, policy.home, policy._all) == ({}, {}, {}, None)


def test_what_it_says_of_itself() -> None:
    router = around(round_robin.factory)
    attach(router, "a", "red,blue")
    attach(router, "z")
    sent(router, "red", None)
    assert router.policy.describe() == {
        "groups": {"blue,red": {"next": ["a"]}, "": {"next": ["z"]}},
        "nobody_for": [],
        "cut": 0,
        "all": {"next": ["z", "a"]},
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"property": ""}, r"^subset\.property: the name of a link property is needed$"),
        ({"key": "subjekt"}, r"^subset\.key: 'subjekt' is not `property:NAME`, subject, "),
        ({"key": "property:"}, r"^subset\.key: 'property:' is not `property:NAME`, subject, "),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        around(**options)
