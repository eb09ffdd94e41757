"""How long a consumer takes, in comparison with others."""

from __future__ import annotations

import random

from txrouter.policies.pace import USUAL, Pace, Usual


def paces(*seconds: float, messages: int = 100) -> list[int]:
    """Of consumers that each took so long for each of so many messages."""
    usual = Usual()
    each = [Pace() for _ in seconds]
    for _ in range(messages):
        for pace, took in zip(each, seconds, strict=True):
            usual.learn(pace, took)
    return [pace.pace for pace in each]


def test_a_consumer_of_which_nothing_is_known_is_as_usual() -> None:
    assert Pace().pace == USUAL


def test_those_that_take_as_long_are_alike() -> None:
    assert paces(3.0, 3.0, 3.0) == [USUAL] * 3


def test_one_that_takes_four_times_as_long_is_told_from_the_others() -> None:
    assert paces(1.0, 1.0, 1.0, 4.0) == [USUAL, USUAL, USUAL, 2 * USUAL]


def test_it_matters_how_much_longer_not_how_long() -> None:
    assert paces(0.1, 1.0) == paces(10.0, 100.0)


def test_one_message_tells_little() -> None:
    assert paces(1.0, 100.0, messages=1) == [USUAL, USUAL]


def test_ten_messages_tell_something() -> None:
    fast, slow = paces(1.0, 10.0, messages=10)
    assert fast < slow


def test_no_consumer_is_too_slow_or_too_fast() -> None:
    fast, slow = paces(0.0, 1e9, messages=1000)
    assert 0 < fast < USUAL < slow <= USUAL * 256


def test_other_jobs_make_no_consumer_different() -> None:
    usual = Usual()
    each = [Pace() for _ in range(10)]
    for seconds in [0.1] * 100 + [10.0] * 1000:
        for pace in each:
            usual.learn(pace, seconds)
    assert len({pace.pace for pace in each}) == 1


def test_what_was_learned_is_forgotten_by_and_by() -> None:
    usual = Usual()
    once_slow, other = Pace(), Pace()
    for took in [8.0] * 100 + [1.0] * 200:
        usual.learn(once_slow, took)
        usual.learn(other, 1.0)
    assert once_slow.pace == other.pace


def test_in_doubt_the_next_messages_count_for_more() -> None:
    def left(doubtful: bool) -> int:
        usual = Usual()
        once_slow, other = Pace(), Pace()
        for took in [8.0] * 100 + [1.0] * 12:
            if took == 1.0 and doubtful:
                once_slow.doubt()
            usual.learn(once_slow, took)
            usual.learn(other, 1.0)
        return once_slow.pace

    assert left(doubtful=True) < left(doubtful=False)


def test_a_few_that_take_very_long_do_not_drown_the_rest() -> None:
    """Of one consumer's messages one of 20 takes 60 times as long as the others. On the average they take as long as
    those of the other consumer."""
    usual = Usual()
    mixed, even = Pace(), Pace()
    chance = random.Random(1)
    for _ in range(1000):
        usual.learn(mixed, 15.0 if chance.random() < 0.05 else 0.25)
        usual.learn(even, 1.0)
    assert mixed.pace < even.pace
