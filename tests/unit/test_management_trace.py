"""The lines of a trace, without sockets and with a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.fakes import Message, Stage
from txrouter.core.outcomes import ACCEPTED, RELEASED, rejected
from txrouter.management import record
from txrouter.management.record import Trace


def trace_of(stage: Stage, **more: Any) -> Trace:
    return Trace(stage.router, stage.address(), **more)


def messages(trace: Trace) -> list[dict[str, Any]]:
    return [line for line in trace.lines if "sent" in line]


def test_the_first_line_says_where_and_with_whom() -> None:
    stage = Stage()
    consumer = stage.consumer(credit=3)
    stage.producer("q").sends()
    [line] = trace_of(stage).lines
    assert line == {
        "txrouter": "trace",
        "version": 1,
        "router": "here",
        "address": "q",
        "policy": "pull",
        "consumers": [{"consumer": consumer.id, "credit": 2, "in_flight": 1, "capacity": 1.0}],
    }


def test_of_very_many_consumers_some_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "CONSUMERS", 2)
    stage = Stage()
    for _ in range(5):
        stage.consumer(credit=1)
    [line] = trace_of(stage).lines
    assert len(line["consumers"]) == 2  # type: ignore[arg-type]
    assert line["more_consumers"] == 3


def test_times_are_from_when_the_recording_began() -> None:
    stage = Stage()
    stage.later(100)
    consumer = stage.consumer()
    producer = stage.producer("q")
    consumer.grants(1)
    held = producer.sends()
    consumer.settles(held, ACCEPTED)
    early = producer.sends()
    stage.later(2)
    trace = trace_of(stage)
    stage.later(1)
    consumer.grants(1)
    stage.later(4)
    consumer.settles(early, ACCEPTED)
    [line] = messages(trace)
    assert (line["at"], line["sent"], line["settled"], line["cost"]) == (-2, 1, 5, 4)


def test_a_cost_begins_when_the_one_before_was_settled() -> None:
    stage = Stage()
    consumer = stage.consumer(credit=2)
    producer = stage.producer("q")
    trace = trace_of(stage)
    first, second = producer.sends(), producer.sends()
    for seconds, message in ((3, first), (2, second)):
        stage.later(seconds)
        consumer.settles(message, ACCEPTED)
    assert [line["cost"] for line in messages(trace)] == [3, 2]


@pytest.mark.parametrize(("outcome", "has_cost"), [(ACCEPTED, True), (rejected("x", "y"), True), (RELEASED, False)])
def test_what_was_not_worked_on_has_no_cost(outcome: Any, has_cost: bool) -> None:
    stage = Stage()
    consumer = stage.consumer(credit=1)
    producer = stage.producer("q")
    trace = trace_of(stage)
    message = producer.sends()
    consumer.settles(message, outcome)
    [line] = messages(trace)
    assert line["outcome"] == outcome.state
    assert ("cost" in line) is has_cost


def test_a_presettled_message_is_written_when_it_is_sent() -> None:
    stage = Stage()
    consumer = stage.consumer(credit=1)
    producer = stage.producer("q")
    trace = trace_of(stage)
    producer.sends(presettled=True)
    assert messages(trace) == [{"at": 0, "sent": 0, "consumer": consumer.id}]


def test_fields_are_written_where_the_message_has_them() -> None:
    stage = Stage()
    stage.consumer(credit=1)
    producer = stage.producer("q")
    trace = trace_of(stage)
    producer.sends(presettled=True, priority=7, ttl=1500, subject="s" * 300)
    [line] = messages(trace)
    assert (line["priority"], line["ttl"], line["subject"]) == (7, 1.5, "s" * 256)


def test_a_message_that_is_released_is_written_for_each_attempt() -> None:
    stage = Stage()
    first, second = stage.consumer(credit=1), stage.consumer()
    producer = stage.producer("q")
    trace = trace_of(stage)
    message = producer.sends()
    second.grants(1)
    first.settles(message, RELEASED)
    stage.turn()
    second.settles(message, ACCEPTED)
    assert [(line["consumer"], line["outcome"], line.get("attempt")) for line in messages(trace)] == [
        (first.id, "released", None),
        (second.id, "accepted", 2),
    ]


def test_consumers_that_come_and_go_are_told_of() -> None:
    stage = Stage()
    old = stage.consumer()
    producer = stage.producer("q")
    trace = trace_of(stage)
    new = stage.consumer(credit=2)
    lost, _kept = producer.sends(), producer.sends()
    old.leaves()
    new.settles(lost, ACCEPTED)
    new.leaves()
    stage.later(1)
    trace.look()
    assert [line for line in trace.lines if "attached" in line or "left" in line] == [
        {"at": 0, "attached": {"consumer": new.id, "credit": 1, "in_flight": 1, "capacity": 1.0}},
        {"at": 1, "left": old.id},
        {"at": 1, "left": new.id},
    ]
    assert [line["outcome"] for line in messages(trace)] == ["accepted", "lost"]


def test_what_is_not_settled_at_the_end_is_written_then() -> None:
    stage = Stage()
    stage.consumer(credit=1)
    producer = stage.producer("q")
    trace = trace_of(stage)
    producer.sends()
    stage.later(3)
    trace.end("seconds")
    assert messages(trace)[0].keys() == {"at", "sent", "consumer"}
    assert trace.lines[-1] == {"end": 3, "messages": 1, "dropped": 0, "why": "seconds"}
    assert stage.address().select == stage.address().policy.select


def test_no_more_is_written_than_was_asked_for() -> None:
    stage = Stage()
    stage.consumer(credit=5)
    producer = stage.producer("q")
    trace = trace_of(stage, most=2)
    producer.sends_many(3, presettled=True)
    assert trace.complete
    assert len(messages(trace)) == 2


def test_what_nobody_takes_in_time_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "WAITING", 3)
    stage = Stage()
    stage.consumer(credit=9)
    producer = stage.producer("q")
    trace = trace_of(stage)
    producer.sends_many(5, presettled=True)
    assert len(trace.take(10)) == 3
    producer.sends(presettled=True)
    trace.end("stopped")
    assert [line.keys() for line in trace.lines] == [
        {"at", "dropped"},
        {"at", "sent", "consumer"},
        {"end", "messages", "dropped", "why"},
    ]
    assert trace.lines[0]["dropped"] == 3
    assert (trace.lines[-1]["messages"], trace.lines[-1]["dropped"]) == (3, 3)


def test_of_very_many_messages_in_flight_the_last_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PENDING", 2)
    stage = Stage()
    consumer = stage.consumer(credit=9)
    producer = stage.producer("q")
    trace = trace_of(stage)
    sent: list[Message] = producer.sends_many(3)
    for message in sent:
        consumer.settles(message, ACCEPTED)
    assert (len(messages(trace)), trace.dropped) == (2, 1)


def test_a_message_that_cannot_be_read_is_written_without_its_fields() -> None:
    from txrouter.core.deliveries import Malformed

    stage = Stage()
    stage.consumer(credit=1)
    producer = stage.producer("q")
    trace = trace_of(stage)
    producer.sends(presettled=True, priority=Malformed)
    assert messages(trace)[0].keys() == {"at", "sent", "consumer"}
