"""What is done near the memory's ceiling."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.core.fakes import Stage
from txrouter.core.ceiling import Ceiling, Load

MOST = 1_000 << 20
MIB = 1 << 20


class Holder:
    """A client that takes some memory."""

    def __init__(self, name: str, sent: int, own: int = 0) -> None:
        self.name = name
        self.sent = sent * MIB
        self.own = own * MIB
        self.looked_at = 0
        self.barred = False
        self.gone = False

    def load(self) -> Load:
        self.looked_at += 1
        return Load(self.sent, self.own)

    def bar(self) -> None:
        self.barred = True

    def unbar(self) -> None:
        self.barred = False

    def cut(self) -> None:
        self.gone = True


class Memory:
    """A process with a ceiling, and clients."""

    def __init__(self, *clients: Holder) -> None:
        self.stage = Stage()
        self.router = self.stage.router
        self.ceiling = Ceiling(self.router, MOST)
        self.clients = list(clients)
        self.now = 0.0

    def is_at(self, percent: float, later: float = 0.25) -> None:
        """It has so much of what it may have."""
        self.now += later
        self.ceiling.look(int(MOST * percent / 100), self.now, lambda: [each for each in self.clients if not each.gone])

    @property
    def barred(self) -> str:
        return "".join(each.name for each in self.clients if each.barred)

    @property
    def gone(self) -> str:
        return "".join(each.name for each in self.clients if each.gone)

    @property
    def counters(self) -> Counter[str]:
        return self.router.counters


def test_nobody_is_looked_at_while_there_is_enough() -> None:
    client = Holder("a", 700)
    memory = Memory(client)
    memory.is_at(79)
    assert (client.looked_at, memory.router.short_of_memory) == (0, False)


def test_near_the_ceiling_new_connections_are_unwanted() -> None:
    memory = Memory()
    memory.is_at(80)
    assert memory.router.short_of_memory


def test_a_shortage_is_counted_once() -> None:
    memory = Memory()
    for percent in (85, 90, 75, 85):
        memory.is_at(percent)
    assert memory.counters["memory_shortages"] == 1


@pytest.mark.parametrize(("percent", "barred"), [(80, "a"), (86, "ab"), (100, "abc"), (120, "abc")])
def test_the_nearer_the_ceiling_the_more_get_no_credit_and_the_largest_first(percent: float, barred: str) -> None:
    memory = Memory(Holder("c", 10), Holder("a", 300), Holder("b", 290))
    memory.is_at(percent)
    assert memory.barred == "".join(sorted(barred, key="cab".index))


def test_who_gets_no_credit_gets_some_when_there_is_enough_again() -> None:
    memory = Memory(Holder("a", 300))
    memory.is_at(85)
    memory.is_at(69)
    assert memory.barred == ""


def test_who_gets_no_credit_gets_none_until_there_is_enough() -> None:
    memory = Memory(Holder("a", 300), Holder("b", 299))
    memory.is_at(80)
    memory.clients[0].sent = 0
    memory.is_at(71)
    assert memory.barred == "ab"


def test_producers_go_on_where_messages_are_not_what_takes_the_memory() -> None:
    memory = Memory(Holder("a", 1), Holder("b", 2))
    memory.is_at(95)
    assert memory.barred == ""


def test_nobody_is_cut_off_below_the_ceiling() -> None:
    memory = Memory(Holder("a", 900, own=900))
    memory.is_at(99)
    assert memory.gone == ""


def test_at_the_ceiling_those_that_take_the_most_are_cut_off_until_as_much_is_free_as_was_too_much() -> None:
    memory = Memory(Holder("a", 0, own=150), Holder("b", 0, own=200), Holder("c", 0, own=100), Holder("d", 0, own=90))
    memory.is_at(105)  # which is 250 MiB too much
    assert (memory.gone, memory.counters["cut_for_memory"]) == ("ab", 2)


def test_after_a_cut_what_is_freed_is_waited_for() -> None:
    memory = Memory(Holder("a", 0, own=400), Holder("b", 0, own=300))
    memory.is_at(101)
    memory.is_at(101, later=0.25)
    assert memory.gone == "a"


def test_if_a_cut_did_not_help_the_next_are_cut_off() -> None:
    memory = Memory(Holder("a", 0, own=400), Holder("b", 0, own=300))
    memory.is_at(101)
    memory.is_at(101, later=0.5)
    assert memory.gone == "ab"


def test_nobody_is_cut_off_who_takes_next_to_nothing() -> None:
    memory = Memory(*(Holder(name, 0) for name in "abc"))
    memory.is_at(150)
    assert memory.gone == ""


def test_who_is_gone_is_not_remembered() -> None:
    memory = Memory(Holder("a", 300))
    memory.is_at(85)
    memory.clients.clear()
    memory.is_at(85)
    assert not memory.ceiling._barred


def test_a_barred_producer_is_asked_to_give_its_credit_back() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.consumer("q", credit=10)
    stage.router.feeding.bar(producer)
    assert producer.draining


def test_a_barred_producer_gets_no_credit() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.router.feeding.bar(producer)
    stage.consumer("q", credit=10)
    stage.turn()
    assert producer.credit == 0


def test_a_producer_that_is_barred_no_more_gets_credit() -> None:
    stage = Stage()
    producer = stage.producer("q")
    stage.router.feeding.bar(producer)
    stage.consumer("q", credit=10)
    stage.router.feeding.unbar(producer)
    stage.turn()
    assert producer.credit > 0
