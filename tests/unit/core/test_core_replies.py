"""Which messages are requests, when their replies have come, and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.fakes import Asking, FakeConsumer, FakeProducer, Full, Stage, distribution
from txrouter.core import replies
from txrouter.core.deliveries import Malformed
from txrouter.core.outcomes import ACCEPTED, RELEASED, Outcome

REQUEST: dict[str, Any] = {"reply_to": "answers", "message_id": "1"}


@pytest.fixture
def stage() -> Stage:
    """A router with an address for requests, `q`, and one for their replies."""
    stage = Stage()
    stage.router.policies.table.add_pattern("q", distribution(Asking))
    stage.consumer("answers", credit=99)
    return stage


@pytest.fixture
def server(stage: Stage) -> FakeConsumer:
    """Who gets the requests."""
    return stage.consumer("q", credit=99)


@pytest.fixture
def client(stage: Stage) -> FakeProducer:
    """Who sends them."""
    return stage.producer("q")


def answered(stage: Stage) -> list[float | None]:
    """After how many seconds each reply came."""
    told = stage.address("q").policy.heard
    return [each[2] for each in told if each[0] == "answered"]


def asked(stage: Stage) -> int:
    """How many requests there were."""
    return sum(each[0] == "asked" for each in stage.address("q").policy.heard)


def reply(stage: Stage, id: object = "1", to: str = "answers") -> None:
    """The server replies, by whatever link."""
    stage.producer(None).sends(to=to, correlation_id=id)


def test_a_policy_hears_of_a_request_and_of_its_reply(stage: Stage, server: FakeConsumer, client: FakeProducer) -> None:
    message = client.sends(**REQUEST)
    server.settles(message, ACCEPTED)
    stage.later(1.5)
    reply(stage)
    heard = [each for each in stage.address("q").policy.heard if each[0] in ("sent", "asked", "settled", "answered")]
    assert heard == [
        ("sent", server, message),
        ("asked", server, message),
        ("settled", server, message, "accepted", 0.0),
        ("answered", server, 1.5),
    ]


@pytest.mark.parametrize("to", ["answers", "/answers", "amqp://some.host/answers", "_topo/0/here/answers"])
def test_a_reply_is_known_however_the_address_is_written(
    stage: Stage, server: FakeConsumer, client: FakeProducer, to: str
) -> None:
    client.sends(reply_to=to, message_id="1")
    reply(stage, to=to)
    assert answered(stage) == [0.0]


def test_a_request_without_a_message_id_is_known_by_its_correlation_id(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    client.sends(reply_to="answers", correlation_id=7)
    reply(stage, 7)
    assert answered(stage) == [0.0]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"message_id": "1"},
        {"reply_to": "answers"},
        {"reply_to": "", "message_id": "1"},
        {"reply_to": "answers", "message_id": "1" * 257},
        {"reply_to": Malformed, "message_id": "1"},
    ],
    ids=["nothing", "no reply_to", "no id", "no address", "a long id", "malformed"],
)
def test_other_messages_are_no_requests(
    stage: Stage, server: FakeConsumer, client: FakeProducer, fields: dict[str, Any]
) -> None:
    client.sends(**fields)
    assert asked(stage) == 0
    assert len(stage.router.replies) == 0


def test_a_reply_that_comes_before_its_request_is_settled_counts_once(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    message = client.sends(**REQUEST)
    reply(stage)
    reply(stage)
    server.settles(message, ACCEPTED)
    assert answered(stage) == [0.0]


def test_a_message_with_another_correlation_id_is_no_reply(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    client.sends(**REQUEST)
    reply(stage, "2")
    assert answered(stage) == []


@pytest.mark.parametrize("outcome", [RELEASED, Outcome("rejected")])
def test_a_request_that_is_not_accepted_is_not_replied_to(
    stage: Stage, server: FakeConsumer, client: FakeProducer, outcome: Outcome
) -> None:
    server.settles(client.sends(**REQUEST), outcome)
    assert answered(stage) == [None]


def test_a_reply_is_awaited_for_as_long_as_the_policy_says(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    client.sends(**REQUEST)
    stage.later(9.9)
    assert answered(stage) == []
    stage.later(0.1)
    assert answered(stage) == [None]
    assert stage.counters["replies_missed"] == 1


def test_a_reply_is_awaited_no_longer_than_its_request_lives(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    client.sends(ttl=2_000, **REQUEST)
    stage.later(2.0)
    assert answered(stage) == [None]


def test_a_reply_to_a_pre_settled_request_is_awaited(stage: Stage, server: FakeConsumer, client: FakeProducer) -> None:
    client.sends(presettled=True, **REQUEST)
    reply(stage)
    assert answered(stage) == [0.0]


def test_a_reply_is_seen_at_an_address_that_is_new(stage: Stage, server: FakeConsumer, client: FakeProducer) -> None:
    client.sends(reply_to="later", message_id="1")
    stage.consumer("later", credit=1)
    reply(stage, to="later")
    assert answered(stage) == [0.0]


def test_what_a_consumer_had_not_replied_to_when_it_left_nobody_hears_of(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    stage.consumer("q")
    client.sends(**REQUEST)
    server.leaves()
    reply(stage)
    assert answered(stage) == []
    assert len(stage.router.replies) == 0


def test_what_is_held_is_offered_again_when_a_reply_comes(stage: Stage) -> None:
    class OneAtATime(Asking, Full):
        pass

    stage.router.policies.table.add_pattern("one", distribution(OneAtATime))
    server = stage.consumer("one", credit=99)
    first, second = stage.producer("one").sends(**REQUEST), stage.producer("one").sends()
    server.in_flight -= 1  # as if it had accepted it
    reply(stage)
    stage.turn()
    assert server.got == [first, second]


def test_of_two_requests_with_the_same_id_the_second_counts(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    client.sends_many(2, **REQUEST)
    assert answered(stage) == [None]
    reply(stage)
    assert answered(stage) == [None, 0.0]


def test_of_too_many_the_one_that_has_waited_longest_is_given_up(
    stage: Stage, server: FakeConsumer, client: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "MOST", 2)
    for id in range(3):
        client.sends(reply_to="answers", message_id=id)
    reply(stage, 0)
    assert answered(stage) == [None]
    reply(stage, 1)
    assert answered(stage) == [None, 0.0]


def test_replies_go_to_whom_they_would_go_anyway(stage: Stage, server: FakeConsumer, client: FakeProducer) -> None:
    (receiver,) = stage.address("answers").consumers
    client.sends(**REQUEST)
    reply(stage)
    reply(stage)
    assert len(receiver.unsettled) == 2


@pytest.mark.parametrize("policy", [Asking, Full])
def test_a_policy_that_takes_over_hears_of_no_replies_to_what_was_sent_before(
    stage: Stage, server: FakeConsumer, client: FakeProducer, policy: type
) -> None:
    message = client.sends(**REQUEST)
    stage.router.policies.replace(stage.address("q"), distribution(policy))
    assert len(stage.router.replies) == 0
    server.settles(message, ACCEPTED)
    reply(stage)
    assert not [each for each in stage.address("q").policy.heard if each[0] == "answered"]
    assert stage.counters["policy_errors"] == 0


def test_a_policy_hears_of_no_replies_to_what_was_sent_before_its_consumer_was_barred(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    client.sends(**REQUEST)
    stage.router.rota.bar(server)
    stage.router.rota.unbar(server)
    client.sends(reply_to="answers", message_id="2")
    reply(stage, "1")
    assert answered(stage) == []
    reply(stage, "2")
    assert answered(stage) == [0.0]
    assert len(stage.router.replies) == 0


def test_a_request_that_a_barred_consumer_gives_back_is_awaited_of_the_next(
    stage: Stage, server: FakeConsumer, client: FakeProducer
) -> None:
    message = client.sends(**REQUEST)
    stage.consumer("q", credit=99)
    stage.router.rota.bar(server)
    server.settles(message, RELEASED)
    assert (asked(stage), len(stage.router.replies), stage.counters["replies_missed"]) == (2, 1, 0)
    reply(stage)
    assert answered(stage) == [0.0]
