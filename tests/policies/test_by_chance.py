"""Policies that draw consumers by chance: how likely each is, and what is made of two."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count
from typing import Any

import pytest

from tests.policies.chance import as_likely, chi_square_limit
from tests.policies.routers import router_of, sent_to
from txrouter.policies import join_idle, peak_ewma, power_of_two
from txrouter.policies.ready import Ready
from txrouter.testing import FakeConsumer, FakeDelivery, FakeRouter

NAMES = "abcdefghij"
DRAWS = 20_000


# -- statistics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("degrees", "limit"), [(1, 10.83), (9, 27.88), (30, 59.70)])
def test_the_limit_is_that_of_the_tables(degrees: int, limit: float) -> None:
    assert chi_square_limit(degrees) == pytest.approx(limit, rel=0.04)


def test_what_is_not_as_likely_is_found() -> None:
    assert not as_likely(Counter(a=5_300, b=4_700), {"a": 1, "b": 1})


# -- drawing -----------------------------------------------------------------------------------------------------------


def ready(*credits: int) -> tuple[Ready, list[FakeConsumer]]:
    consumers = [FakeConsumer(name, credit) for name, credit in zip(NAMES, credits, strict=False)]
    found = Ready(random.Random(1))
    for consumer in consumers:
        found.changed(consumer)
    return found, consumers


def draws(found: Ready) -> Counter[str]:
    return Counter(consumer.id for consumer in (found.one() for _ in range(DRAWS)) if consumer is not None)


def test_each_is_as_likely() -> None:
    found, _ = ready(*[1] * 10)
    assert as_likely(draws(found), dict.fromkeys(NAMES, 1))


def test_each_but_the_first_is_as_likely_to_be_the_other() -> None:
    found, consumers = ready(*[1] * 10)
    others = Counter(other.id for other in (found.another(consumers[3]) for _ in range(DRAWS)) if other is not None)
    assert as_likely(others, dict.fromkeys(NAMES.replace("d", ""), 1))


def test_who_has_left_is_not_drawn_and_the_rest_are_as_likely() -> None:
    found, consumers = ready(*[1] * 10)
    for consumer in (consumers[0], consumers[9], consumers[4]):
        found.discard(consumer)
    assert as_likely(draws(found), dict.fromkeys("bcdfghi", 1))


def test_who_has_used_up_its_credit_is_not_drawn() -> None:
    found, consumers = ready(1, 1)
    consumers[0].credit = 0
    assert set(draws(found)) == {"b"}


def test_who_has_credit_again_is_drawn() -> None:
    found, consumers = ready(0, 1)
    consumers[0].credit = 1
    found.changed(consumers[0])
    assert set(draws(found)) == {"a", "b"}


def test_of_nobody_nobody_is_drawn() -> None:
    assert ready(0, 0)[0].one() is None


def test_there_is_no_other_than_the_only_one() -> None:
    found, consumers = ready(1, 0)
    assert found.another(consumers[0]) is None


# -- power of two ------------------------------------------------------------------------------------------------------


def test_of_two_the_one_with_less_in_flight_is_chosen() -> None:
    router = router_of(power_of_two)
    router.attach("a", credit=1_000, in_flight=5)
    router.attach("b", credit=1_000, in_flight=0)
    assert {router.send() for _ in range(5)} == {router.consumers["b"]}


def test_what_is_in_flight_is_divided_by_capacity() -> None:
    router = router_of(power_of_two)
    router.attach("a", credit=1_000, in_flight=9, capacity=10)
    router.attach("b", credit=1_000, in_flight=3, capacity=2)
    assert router.send() is router.consumers["a"]


def test_capacity_does_not_matter_if_it_is_not_to() -> None:
    router = router_of(power_of_two, capacity=False)
    router.attach("a", credit=1_000, in_flight=9, capacity=10)
    router.attach("b", credit=1_000, in_flight=3, capacity=2)
    assert router.send() is router.consumers["b"]


def test_the_worst_of_many_idle_ones_gets_far_less_than_by_one_choice() -> None:
    """As Mitzenmacher has it: of n messages to n consumers the fullest gets about ln ln n / ln 2, and by a single draw
    about ln n / ln ln n. Here those are 3 to 4, and 6 to 8."""
    router = router_of(power_of_two)
    for number in range(2_000):
        router.attach(str(number), credit=100)
    for _ in range(2_000):
        router.send()
    assert max(consumer.in_flight for consumer in router.consumers.values()) <= 4


def test_pre_settled_messages_go_to_each_as_often_as_its_capacity_says() -> None:
    """Nothing is in flight, so of two the larger one is chosen: by two draws of each, in proportion to capacity, it is
    the larger one unless both are small."""
    router = router_of(power_of_two)
    capacities = dict(zip("abcd", (4.0, 4.0, 1.0, 1.0), strict=True))
    for name, capacity in capacities.items():
        router.attach(name, credit=DRAWS, capacity=capacity)
    counts: Counter[str] = Counter()
    for _ in range(DRAWS):
        consumer = router.send(FakeDelivery(presettled=True))
        assert consumer is not None
        counts[consumer.id] += 1
    both_small = 2 / 10 * 1 / 9  # the first is one of the small ones, and of the others so is the second
    likely = {"a": (1 - both_small) / 2, "b": (1 - both_small) / 2, "c": both_small / 2, "d": both_small / 2}
    assert as_likely(counts, likely)


def test_a_capacity_that_changes_counts_from_then_on() -> None:
    router = router_of(power_of_two)
    small = router.attach("a", credit=1_000, in_flight=9)
    router.attach("b", credit=1_000, in_flight=3)
    router.set_capacity(small, 100)
    assert router.send() is small


def test_the_largest_is_known_when_the_largest_leaves() -> None:
    router = router_of(power_of_two)
    largest = router.attach("a", credit=10, capacity=1e9)
    for name in "bcd":
        router.attach(name, credit=DRAWS)
    router.detach(largest)
    counts: Counter[str] = Counter()
    for _ in range(3_000):
        consumer = router.send(FakeDelivery(presettled=True))
        assert consumer is not None
        counts[consumer.id] += 1
    assert as_likely(counts, dict.fromkeys("bcd", 1))


# -- join idle ---------------------------------------------------------------------------------------------------------


def test_the_idle_are_sent_something_first() -> None:
    router = router_of(join_idle)
    router.attach("a", credit=10, in_flight=1)
    router.attach("b", credit=10)
    router.attach("c", credit=10)
    assert sent_to(router, 2) == "bc"


def test_who_has_been_idle_longest_is_next() -> None:
    router = router_of(join_idle)
    consumers = [router.attach(name, credit=10) for name in "abc"]
    assert sent_to(router, 3) == "abc"
    for consumer in (consumers[2], consumers[0], consumers[1]):
        router.settle(consumer)
    assert sent_to(router, 3) == "cab"


def test_who_gives_one_credit_at_a_time_is_idle_when_it_gives_it() -> None:
    router = router_of(join_idle)
    first, second = router.attach("a", credit=1), router.attach("b", credit=1)
    assert sent_to(router, 3) == "ab-"
    router.settle(second)
    router.grant(second, 1)
    assert second.in_flight == 1, "it was sent what was held"
    router.settle(first)
    router.grant(first, 1)
    assert sent_to(router, 1) == "a"


def test_pre_settled_messages_go_round_the_idle() -> None:
    router = router_of(join_idle)
    for name in "abc":
        router.attach(name, credit=10)
    taken = [router.send(FakeDelivery(presettled=True)) for _ in range(6)]
    assert [consumer.id for consumer in taken if consumer is not None] == list("abcabc")


def test_when_all_are_busy_the_less_loaded_of_two_is_chosen() -> None:
    router = router_of(join_idle)
    router.attach("a", credit=10, in_flight=4)
    router.attach("b", credit=10, in_flight=1)
    assert sent_to(router, 2) == "bb"


# -- peak EWMA ---------------------------------------------------------------------------------------------------------


def settles(router: FakeRouter, seconds: float, outcome: str = "accepted") -> str:
    """A message is sent, and settled after so long. Returns by whom."""
    consumer = router.send()
    assert consumer is not None
    router.settle(consumer, outcome, seconds)
    return consumer.id


def latency(router: FakeRouter, name: str) -> object:
    described: Any = router.policy.describe()
    return described[name]["seconds"]


def test_the_one_that_was_quicker_is_chosen() -> None:
    router = router_of(peak_ewma)
    slow, quick = router.attach("a", credit=100), router.attach("b", credit=100)
    for consumer, seconds in ((slow, 1.0), (quick, 0.1)):
        router.policy.settled(consumer, FakeDelivery(), "accepted", seconds)
    assert sent_to(router, 5) == "bbbbb"


def test_what_it_has_in_flight_counts_too() -> None:
    router = router_of(peak_ewma)
    slow, quick = router.attach("a", credit=100), router.attach("b", credit=100)
    for consumer, seconds in ((slow, 1.0), (quick, 0.3)):
        router.policy.settled(consumer, FakeDelivery(), "accepted", seconds)
    assert sent_to(router, 4) == "bbba"


def test_one_that_is_not_known_is_tried_once() -> None:
    router = router_of(peak_ewma)
    known, _unknown = router.attach("a", credit=100), router.attach("b", credit=100)
    router.policy.settled(known, FakeDelivery(), "accepted", 0.1)
    assert sent_to(router, 4) == "baaa"


def test_a_peak_counts_at_once_and_in_full() -> None:
    router = router_of(peak_ewma)
    router.attach("a", credit=100)
    settles(router, 0.1)
    settles(router, 5.0)
    assert latency(router, "a") == 5.0


def test_what_is_known_fades_as_time_passes() -> None:
    router = router_of(peak_ewma, decay_seconds=10.0)
    router.attach("a", credit=100)
    settles(router, 5.0)
    router.later(10.0)
    settles(router, 1.0)
    assert latency(router, "a") == pytest.approx(1.0 + 4.0 / 2.718281828)


def test_one_that_was_slow_is_tried_again_after_a_while() -> None:
    router = router_of(peak_ewma)
    slow, quick = router.attach("a", credit=100), router.attach("b", credit=100)
    for consumer, seconds in ((slow, 5.0), (quick, 0.1)):
        router.policy.settled(consumer, FakeDelivery(), "accepted", seconds)
    assert sent_to(router, 1) == "b"
    router.settle(quick, "accepted", 0.1)
    router.later(60.0)
    router.policy.settled(quick, FakeDelivery(), "accepted", 0.1)
    assert sent_to(router, 1) == "a"


@pytest.mark.parametrize("outcome", ["released", "modified"])
def test_who_refuses_quickly_does_not_seem_quick(outcome: str) -> None:
    router = router_of(peak_ewma)
    refuses, works = router.attach("a", credit=100), router.attach("b", credit=100)
    for consumer in (refuses, works):
        router.policy.settled(consumer, FakeDelivery(), "accepted", 0.5)
    for _ in range(20):
        router.policy.settled(refuses, FakeDelivery(), outcome, 0.001)
    assert latency(router, "a") == 0.5


def test_a_refusal_that_took_long_counts() -> None:
    router = router_of(peak_ewma)
    consumer = router.attach("a", credit=100)
    router.policy.settled(consumer, FakeDelivery(), "accepted", 0.5)
    router.policy.settled(consumer, FakeDelivery(), "released", 3.0)
    assert latency(router, "a") == 3.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_a_decay_that_makes_no_sense_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="decay_seconds"):
        router_of(peak_ewma, decay_seconds=seconds)


def test_peak_ewma_can_go_by_replies() -> None:
    router = router_of(peak_ewma, latency="reply")
    slow, quick = router.attach("slow", credit=100), router.attach("quick", credit=100)
    ids = count()

    def asks() -> FakeConsumer | None:
        consumer = router.send(FakeDelivery(fields={"reply_to": "answers", "message_id": next(ids)}))
        assert consumer is not None
        router.settle(consumer)
        return consumer

    asked = [asks(), asks()]
    router.later(0.1)
    router.reply(asked.index(quick))
    router.later(0.9)
    router.reply()
    assert {asks() for _ in range(9)} == {quick}  # the tenth would take it as long as the slow one its first
    assert slow.in_flight == quick.in_flight == 0
