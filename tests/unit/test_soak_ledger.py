"""The ledger of a soak: what may be is let pass, and what must not be is found."""

from __future__ import annotations

from typing import Any

import pytest

from soak.ledger import KEPT_FOR, PATIENCE, Entry, Key, Ledger
from tests.net.links import ACCEPTED, LOST, RELEASED, SETTLED, Error, State

ELSEWHERE = State("modified", undeliverable=True)
FAILED_ELSEWHERE = State("modified", failed=True, undeliverable=True)
UNCHANGED = State("modified")
REFUSED = State("rejected", error=Error("soak:refused", "not wanted"))
EXPIRED = State("rejected", error=Error("amqp:message-expired", "too late"))
PRODUCER, ANN, BOB, SIZE, CHECKSUM = 1, 7, 8, 100, 4711


class Book(Ledger):
    """A ledger with a clock that is moved by hand, one producer, and two consumers."""

    def __init__(self) -> None:
        self.time = 100.0
        super().__init__(lambda: self.time)
        self.consumer(ANN, "x")
        self.consumer(BOB, "x")
        self._sent = -1

    def send(self, **fields: Any) -> Key:
        """Send a message."""
        self.time += 1
        self._sent += 1
        key = PRODUCER, self._sent
        self.sent(Entry(key, "x", SIZE, CHECKSUM, self.time, **fields))
        return key

    def gets(self, consumer: int, key: Key, says: State | None = None) -> None:
        """A consumer gets one as it was sent, and says something of it."""
        self.time += 1
        self.arrived(key, consumer, SIZE, CHECKSUM)
        if says is not None:
            self.answered(key, consumer, says)

    def proves_alive(self, consumer: int) -> None:
        """A consumer gets a message that is sent now."""
        self.time += 1
        self.sent(Entry(key := (99, self.time_number), "x", SIZE, CHECKSUM, self.time, presettled=True))
        self.gets(consumer, key)

    @property
    def time_number(self) -> int:
        return int(self.time)

    def no_consumer_was_lost(self) -> None:
        """Let so much time pass that everybody would know."""
        self.time += PATIENCE
        self.convict()

    @property
    def found(self) -> list[str]:
        """What is wrong."""
        return [problem.what for problem in self.problems]


@pytest.fixture
def book() -> Book:
    return Book()


# -- what may be -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ACCEPTED, RELEASED, ELSEWHERE, FAILED_ELSEWHERE, UNCHANGED, LOST, REFUSED, SETTLED])
@pytest.mark.parametrize("copied", [False, True])
def test_a_producer_is_told_what_the_consumer_said(book: Book, state: State, copied: bool) -> None:
    key = book.send(copied=copied)
    book.gets(ANN, key, state)
    book.told(key, state)
    book.proves_alive(ANN)
    book.no_consumer_was_lost()
    assert book.found == []
    assert book.counts[state.name or "settled"] == 1


@pytest.mark.parametrize("given_back", [RELEASED, ELSEWHERE])
def test_what_was_given_back_another_may_get(book: Book, given_back: State) -> None:
    key = book.send()
    book.gets(ANN, key, given_back)
    book.gets(BOB, key, ACCEPTED)
    book.told(key, ACCEPTED)
    assert book.found == []


def test_released_is_what_nobody_got(book: Book) -> None:
    book.told(book.send(), RELEASED)
    assert book.found == []


@pytest.mark.parametrize("said", [None, ACCEPTED, RELEASED])
def test_what_a_consumer_had_that_is_lost_may_have_failed(book: Book, said: State | None) -> None:
    key = book.send()
    book.gets(ANN, key, said)
    book.told(key, LOST)
    book.consumer_lost(ANN)
    book.proves_alive(BOB)
    book.no_consumer_was_lost()
    assert book.found == []


def test_a_consumer_that_is_lost_may_have_been_about_to_get_it(book: Book) -> None:
    book.consumer_lost(ANN)
    book.told(book.send(), LOST)
    book.time += 1
    book.consumer_lost(BOB)
    book.no_consumer_was_lost()
    assert book.found == []


def test_a_message_may_come_out_of_a_socket_after_its_consumer_is_lost(book: Book) -> None:
    key = book.send()
    book.told(key, LOST)
    book.gets(ANN, key)
    book.consumer_lost(ANN)
    book.no_consumer_was_lost()
    assert book.found == []


def test_order_is_not_kept_where_a_consumer_gave_one_back_or_was_lost(book: Book) -> None:
    first, second, third = book.send(), book.send(), book.send()
    book.gets(ANN, first, RELEASED)
    book.gets(BOB, third, ACCEPTED)
    book.gets(BOB, first, ACCEPTED)
    book.gets(BOB, second, ACCEPTED)
    book.consumer_lost(ANN)
    book.no_consumer_was_lost()
    assert book.found == []


def test_order_is_kept_for_each_priority(book: Book) -> None:
    low, high = book.send(priority=1), book.send(priority=9)
    book.gets(ANN, high)
    book.gets(ANN, low)
    book.no_consumer_was_lost()
    assert book.found == []


def test_everybody_gets_a_copy(book: Book) -> None:
    key = book.send(copied=True)
    book.gets(ANN, key, ACCEPTED)
    book.gets(BOB, key, REFUSED)
    book.told(key, REFUSED)
    assert book.found == []


@pytest.mark.parametrize("how", ["gone", "settled"])
def test_a_message_may_come_when_its_producer_does_not_want_to_know_any_more(book: Book, how: str) -> None:
    key = book.send()
    if how == "gone":
        book.producer_gone(PRODUCER)
    else:
        book.withdrawn(key, how)
    book.gets(ANN, key, ACCEPTED)
    assert book.unfinished() == []
    assert book.found == []


def test_a_message_expires_if_it_is_mortal(book: Book) -> None:
    book.told(book.send(mortal=True), EXPIRED)
    assert book.found == []


# -- what must not be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ACCEPTED, UNCHANGED, ELSEWHERE, REFUSED, SETTLED, EXPIRED])
@pytest.mark.parametrize("copied", [False, True])
def test_an_outcome_that_nobody_said(book: Book, state: State, copied: bool) -> None:
    book.told(book.send(copied=copied), state)
    assert len(book.found) == 1
    assert book.found[0].endswith("and no consumer had said so")


def test_accepted_though_its_consumer_has_said_nothing(book: Book) -> None:
    key = book.send()
    book.gets(ANN, key)
    book.told(key, ACCEPTED)
    assert book.found == ["its producer was told ACCEPTED, and consumer 7 said nothing"]


def test_released_though_a_consumer_accepted_it(book: Book) -> None:
    key = book.send()
    book.gets(ANN, key, ACCEPTED)
    book.told(key, RELEASED)
    assert book.found == ["its producer was told RELEASED, and consumer 7 said ACCEPTED"]


def test_released_though_a_consumer_that_is_lost_had_it(book: Book) -> None:
    key = book.send()
    book.gets(ANN, key)
    book.consumer_lost(ANN)
    book.told(key, RELEASED)
    assert book.found == ["its producer was told RELEASED, and consumer 7 said nothing"]


def test_released_though_it_comes_to_a_consumer_that_is_leaving(book: Book) -> None:
    key = book.send(copied=True)
    book.consumer_lost(ANN)
    book.told(key, RELEASED)
    book.gets(ANN, key)
    assert book.found == ["consumer 7 got it after its producer had been told RELEASED"]


def test_released_though_a_consumer_said_that_delivery_failed(book: Book) -> None:
    key = book.send()
    book.gets(ANN, key, FAILED_ELSEWHERE)
    book.gets(BOB, key, RELEASED)
    book.told(key, RELEASED)
    assert book.found == ["its producer was told RELEASED, and a consumer had said that delivery failed"]


def test_failed_though_no_consumer_was_lost(book: Book) -> None:
    book.told(book.send(), LOST)
    assert book.found == []
    book.no_consumer_was_lost()
    assert book.found == ["its producer was told MODIFIED delivery-failed, and no consumer was lost"]


@pytest.mark.parametrize("copied", [False, True])
def test_failed_though_its_consumer_lives_and_accepted_it(book: Book, copied: bool) -> None:
    key = book.send(copied=copied)
    book.gets(ANN, key, ACCEPTED)
    book.told(key, LOST)
    assert book.found == []
    book.proves_alive(ANN)
    assert book.found == ["its producer was told MODIFIED delivery-failed, and consumer 7 said ACCEPTED"]


@pytest.mark.parametrize("before", [None, ACCEPTED, UNCHANGED])
def test_another_gets_what_the_first_has_not_given_back(book: Book, before: State | None) -> None:
    key = book.send()
    book.gets(ANN, key, before)
    book.consumer_lost(ANN)
    book.gets(BOB, key)
    assert book.found == ["consumer 8 got it, though consumer 7 had it and has not given it back"]


@pytest.mark.parametrize("presettled", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_one_consumer_gets_it_twice(book: Book, presettled: bool, copied: bool) -> None:
    key = book.send(presettled=presettled, copied=copied)
    book.gets(ANN, key, RELEASED)
    book.gets(ANN, key)
    assert book.found[0] == "consumer 7 got it twice"


@pytest.mark.parametrize("state", [RELEASED, EXPIRED])
def test_it_comes_after_its_producer_was_told_that_nobody_has_it(book: Book, state: State) -> None:
    key = book.send(mortal=True)
    book.told(key, state)
    book.gets(ANN, key)
    assert len(book.found) == 1


@pytest.mark.parametrize("copied", [False, True])
def test_it_comes_after_all_to_a_consumer_that_lives(book: Book, copied: bool) -> None:
    key = book.send(copied=copied)
    book.gets(BOB, key, LOST)
    book.told(key, LOST)
    if not copied:
        key = book.send()
        book.told(key, LOST)
    book.gets(ANN, key)
    book.proves_alive(ANN)
    assert book.found == [
        "consumer 7 got it after its producer had been told MODIFIED delivery-failed, and was not lost"
    ]


def test_it_comes_whole_though_it_was_aborted(book: Book) -> None:
    key = book.send()
    book.withdrawn(key, "aborted")
    book.gets(ANN, key)
    assert book.found == ["consumer 7 got it whole, though its producer had aborted it"]


@pytest.mark.parametrize(("size", "checksum"), [(SIZE - 1, CHECKSUM), (SIZE, CHECKSUM + 1)])
def test_other_bytes_come_than_were_sent(book: Book, size: int, checksum: int) -> None:
    book.arrived(book.send(), ANN, size, checksum)
    assert book.found == [f"consumer 7 got other bytes than were sent: {size} of them"]


def test_it_comes_to_another_address(book: Book) -> None:
    book.consumer(3, "y")
    book.gets(3, book.send())
    assert book.found == ["consumer 3 got it, which consumes from y"]


def test_a_message_comes_that_nobody_sent(book: Book) -> None:
    book.gets(ANN, (5, 5))
    assert book.found == ["consumer 7 got number 5 of producer 5, which was not sent or is long over"]


def test_one_overtakes_another(book: Book) -> None:
    first, second = book.send(), book.send()
    book.gets(ANN, second, ACCEPTED)
    book.gets(ANN, first, ACCEPTED)
    assert book.found == []
    book.no_consumer_was_lost()
    assert book.found == ["consumer 7 got it after number 1, and no consumer was lost"]


def test_its_producer_is_told_twice(book: Book) -> None:
    key = book.send()
    book.told(key, RELEASED)
    book.told(key, RELEASED)
    assert book.found == ["its producer was told another time: RELEASED"]


def test_a_copy_that_says_more_than_what_its_producer_was_told(book: Book) -> None:
    key = book.send(copied=True)
    book.gets(ANN, key, ACCEPTED)
    book.gets(BOB, key, REFUSED)
    book.told(key, ACCEPTED)
    book.proves_alive(BOB)
    assert book.found == ["its producer was told ACCEPTED, and consumer 8 said REJECTED soak:refused"]


def test_a_copy_of_which_nothing_was_said_when_its_producer_was_told(book: Book) -> None:
    key = book.send(copied=True)
    book.gets(ANN, key, ACCEPTED)
    book.gets(BOB, key)
    book.told(key, ACCEPTED)
    book.proves_alive(BOB)
    assert book.found == ["its producer was told ACCEPTED, and consumer 8 said nothing"]


def test_its_producer_is_never_told(book: Book) -> None:
    book.gets(ANN, book.send(), ACCEPTED)
    book.never_ended()
    assert book.found == ["its producer was never told anything"]


# -- the book itself ---------------------------------------------------------------------------------------------------


def test_a_problem_tells_the_history_of_its_message(book: Book) -> None:
    key = book.send()
    book.gets(ANN, key, RELEASED)
    book.gets(BOB, key)
    book.told(key, ACCEPTED)
    assert str(book.problems[0]).splitlines() == [
        "at 103.000 s: its producer was told ACCEPTED, and consumer 8 said nothing",
        "      101.000 producer 1 sent its number 0, 100 bytes, to x",
        "      102.000 consumer 7 got it",
        "      102.000 consumer 7 said RELEASED",
        "      103.000 consumer 8 got it",
        "      103.000 for its producer it is over: told ACCEPTED",
    ]


def test_only_some_problems_are_kept_but_all_are_counted(book: Book) -> None:
    for _ in range(50):
        book.told(book.send(), ACCEPTED)
    assert (len(book.problems), book.counts["problems"]) == (20, 50)


def test_what_is_long_over_is_struck_out_unless_a_consumer_owes_an_answer(book: Book) -> None:
    over, owed, open_ = book.send(), book.send(), book.send()
    book.told(over, RELEASED)
    book.gets(ANN, owed)
    book.withdrawn(owed, "settled")
    book.time += KEPT_FOR + 1
    book.strike_out()
    assert set(book.entries) == {owed, open_}
    book.answered(owed, ANN, ACCEPTED)
    book.strike_out()
    assert set(book.entries) == {open_}
