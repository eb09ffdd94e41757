"""Clients as those of `fakes`, of which more is asked: their messages may be long, and come in pieces; and what each
consumer says of a message is written down, so that what its producer was told can be compared with it.
"""

from __future__ import annotations

from typing import Any

from tests.unit.core.fakes import FakeConsumer, FakeCopy, FakeProducer, Message
from txrouter.core.deliveries import Delivery
from txrouter.core.outcomes import LOST, RELEASED, SETTLED, Outcome, rejected

__all__ = ["TOO_LARGE", "LiveConsumer", "LiveMessage", "LiveProducer"]

TOO_LARGE = rejected("amqp:link:message-size-exceeded", "it turned out to be too large")


class LiveMessage(Message):
    """A message. One that is `long` goes to its consumers in pieces, and they get nothing else until its end."""

    def __init__(self, producer: LiveProducer, presettled: bool, size: str, fields: dict[str, object]) -> None:
        super().__init__(producer, producer.target, presettled, producer.stage.router.now, fields)
        self.sender = producer
        self.long = size == "long"
        self.kept = size == "small"
        self.complete = not self.long
        """Whether all of it has come."""
        self.came = 0
        """Its place in the order of arrival; it has another when it is adopted."""
        self.astray = False
        """Whether it waited for a consumer that left: then those behind it may be waiting for another already."""
        self.said: list[tuple[FakeConsumer, Outcome]] = []
        """What has become of it, or of each of its copies, in the order in which that was said; and by whom."""
        self.waits_since = 0.0
        self.sent_at_last = 0.0
        self.missed: set[Any] = set()
        """The consumers that were there and did not get a copy."""

    @property
    def in_flight(self) -> bool:
        """Whether a consumer has it and it is not over."""
        if self.copies is not None:
            return bool(self.copies.live)
        return isinstance(self.consumer, FakeConsumer) and self in self.consumer.unsettled

    @property
    def holders(self) -> list[LiveConsumer]:
        """Those who have it, or a copy of it, and have not settled that."""
        if self.copies is not None:
            return [copy.consumer for copy in self.copies.live if isinstance(copy.consumer, LiveConsumer)]
        return [self.consumer] if isinstance(self.consumer, LiveConsumer) and self.in_flight else []

    def abandoned(self, outcome: Outcome = SETTLED) -> None:
        """It ends from its producer's side."""
        self.said += [(consumer, outcome) for consumer in self.holders]
        self.sender.stage.router.abandon(self, outcome)

    def finish(self, outcome: Outcome) -> None:
        super().finish(outcome)
        if self.presettled and self.sent_to:
            self.outcomes.clear()  # nobody waits for it

    def send_copies(self, consumers: Any) -> bool:
        self.missed = {each for each in self.destination.consumers if not each.barred} - set(consumers)
        self.sent_at_last = self.sender.stage.router.now
        sent = super().send_copies(consumers)
        if sent and self.presettled and not self.long:
            assert self.copies is not None
            self.copies.live.clear()
            self.over = True
        return sent


class LiveProducer(FakeProducer):
    """A client that sends."""

    @property
    def is_busy(self) -> bool:
        """Whether it is in the middle of a long message."""
        return any(
            isinstance(message, LiveMessage) and message.sender is self and not message.complete and not message.over
            for message in reversed(self.stage.messages[-50:])
        )

    def sends_this(self, message: LiveMessage) -> None:
        """It sends a message."""
        self.sent += 1
        if not message.presettled:
            self.unsettled[message] = message
        self.stage.messages.append(message)
        router = self.stage.router
        left = router.route(message) if self.target is not None else router.route_by_name(message)
        assert left is not message.is_held

    def leaves(self) -> None:
        """Its link is gone. A long message that it sent pre-settled cannot be adopted: nobody has the rest of it."""
        if self.gone:
            return
        self.gone = True
        for message in self.stage.messages:
            assert isinstance(message, LiveMessage)
            if message.producer is self and not message.over:
                if not message.presettled:
                    message.said += [(consumer, SETTLED) for consumer in message.holders]
                elif message.long:
                    message.abandoned()
                elif message.is_held:
                    self.stage.router.holding.adopt(message)
        self.stage.router.detach_producer(self)
        self.stage.turns()


class LiveConsumer(FakeConsumer):
    """A client that receives, and is as busy as its connection is."""

    def __init__(self, *arguments: Any) -> None:
        self.streaming: Delivery | None = None
        """The long message that it is being sent."""
        self.blocked = False
        """Whether its connection takes no more for now."""
        self.cut = 0
        """Long pre-settled messages, or copies of them, of which it did not get the rest, through no doing of their
        producers."""
        super().__init__(*arguments)

    def send(self, delivery: Delivery) -> None:
        message = delivery.original if isinstance(delivery, FakeCopy) else delivery
        assert isinstance(message, LiveMessage)
        assert self.streaming is None, "another message while a long one is being sent"
        super().send(delivery)
        if message.long:
            if message.presettled:
                delivery.over = False  # type: ignore[attr-defined]
                self.unsettled[delivery] = delivery
            self.streaming = delivery
            self.refresh()

    def refresh(self) -> None:
        """Have the router send to it, or not."""
        busy = self.blocked or self.streaming is not None
        if busy != self.suspended and not self.gone:
            (self.stage.router.suspend if busy else self.stage.router.resume)(self)

    def let_go(self, delivery: Delivery) -> None:
        """It is over for this consumer, perhaps before all of it has come."""
        super().let_go(delivery)
        if self.streaming is delivery:
            self.streaming = None
            if not self.gone:
                self.stage.router.credit(self, self.granted)
            self.refresh()

    def blocks(self, blocked: bool) -> None:
        """Its connection takes no more, or does again."""
        self.blocked = blocked
        self.refresh()

    def gets_the_rest(self, settled: bool) -> None:
        """The rest of the long message comes; with it, its producer may settle it."""
        assert self.streaming is not None
        message = self.streaming.original if isinstance(self.streaming, FakeCopy) else self.streaming
        assert isinstance(message, LiveMessage)
        message.complete = True
        consumers = message.holders
        for consumer in consumers:
            consumer.streaming = None
        if message.presettled or settled:
            message.abandoned()
        for consumer in consumers:
            consumer.refresh()

    def says_of(self, delivery: Delivery, outcome: Outcome) -> None:
        """It says what becomes of a delivery, and settles it or, with the second settle mode, leaves that to the
        producer, if nobody else is to have it."""
        message = delivery.original if isinstance(delivery, FakeCopy) else delivery
        assert isinstance(message, LiveMessage)
        message.said.append((self, outcome))
        self.cut += delivery.presettled
        self.stage.router.settle(delivery, outcome)

    def updates(self, delivery: Delivery, outcome: Outcome) -> None:
        """It says what becomes of a delivery, and leaves it to the producer to settle it; unless somebody else is to
        have it."""
        if isinstance(delivery, FakeCopy):
            assert delivery.original.copies is not None
            delivery.original.copies.said(delivery, outcome)
        elif self.stage.router.holding.goes_to_another(delivery, outcome):
            self.says_of(delivery, outcome)
        else:
            delivery.tell(outcome)

    def leaves(self, seen: bool = True, written: int = 1_000) -> None:
        """It is gone, when so many of the messages that it has had been written to it, and none of the others."""
        if self.gone:
            return
        for place, delivery in enumerate(self.unsettled.values()):
            message = delivery.original if isinstance(delivery, FakeCopy) else delivery
            assert isinstance(message, LiveMessage)
            self.cut += delivery.presettled
            delivery.seen = place < written or message.long  # type: ignore[attr-defined]
            if delivery.seen or isinstance(delivery, FakeCopy):  # type: ignore[attr-defined]
                message.said.append((self, LOST if delivery.seen else RELEASED))  # type: ignore[attr-defined]
        self.gone = True
        self.stage.router.detach_consumer(self)
        self.stage.turns()


def copies_say(said: list[tuple[FakeConsumer, Outcome]]) -> tuple[str, bool, bool]:
    """What a producer is to be told when this was said of the copies: the state, and the flags of MODIFIED."""
    states = [outcome.state for _, outcome in said]
    for state in ("rejected", "accepted", "settled"):
        if state in states:
            return state, False, False
    modified = [outcome for _, outcome in said if outcome.state == "modified"]
    if modified:
        failed = any(outcome.delivery_failed for outcome in modified)
        return "modified", failed, all(outcome.undeliverable_here for outcome in modified)
    return "released", False, False
