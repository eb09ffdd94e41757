"""The requests of a `FakeRouter` whose replies its policy awaits."""

from __future__ import annotations

from itertools import count
from typing import Any, NamedTuple

from txrouter.interfaces import IReplyWatcher
from txrouter.testing.fakes import FakeConsumer, FakeDelivery

__all__ = ["Replies", "Request"]


class Request(NamedTuple):
    """A message that is to be replied to."""

    number: int
    consumer: FakeConsumer
    delivery: FakeDelivery
    sent_at: float
    given_up_at: float
    known_by: tuple[object, object]
    """The address its reply is sent to, and the correlation id that this has."""


class Replies:
    """Tells a policy of requests, and of what becomes of them."""

    def __init__(self) -> None:
        self.awaited: list[Request] = []
        """The oldest first."""
        self._numbers = count(1)
        self._policy: Any = None

    def use(self, policy: Any) -> None:
        """Another policy is to hear of them, but of none that was sent before."""
        self.awaited.clear()
        self._policy = policy if IReplyWatcher.providedBy(policy) else None

    def sent(self, consumer: FakeConsumer, delivery: FakeDelivery, now: float) -> bool:
        """A message was sent, which may be a request. Returns whether another is given up for it: where two are known
        by the same, nobody can tell which is replied to."""
        if self._policy is None:
            return False
        to, id = delivery.field("reply_to"), delivery.field("message_id")
        if id is None:
            id = delivery.field("correlation_id")
        if not to or id is None:
            return False
        same = [request for request in self.awaited if request.known_by == (to, id)]
        for request in same:
            self.over(request, None)
        given_up_at = now + self._policy.reply_seconds
        request = Request(next(self._numbers), consumer, delivery, now, given_up_at, (to, id))
        self.awaited.append(request)
        self._policy.asked(consumer, delivery, request.number)
        return bool(same)

    def refused(self, consumer: FakeConsumer, delivery: FakeDelivery) -> None:
        """A consumer has settled a message so that no reply will come."""
        for request in [each for each in self.awaited if each.consumer is consumer and each.delivery is delivery]:
            self.over(request, None)

    def left(self, consumer: FakeConsumer) -> None:
        """A consumer has left: no more is told of what it was asked."""
        self.awaited = [each for each in self.awaited if each.consumer is not consumer]

    def expire(self, now: float) -> bool:
        """Give up those whose time is over. Returns whether there were any."""
        due = sorted((each for each in self.awaited if each.given_up_at <= now), key=lambda each: each.given_up_at)
        for request in due:
            self.over(request, None)
        return bool(due)

    def over(self, request: Request, seconds: float | None) -> None:
        """Its reply has come after so many seconds; or None: it is not awaited any more."""
        self.awaited.remove(request)
        self._policy.answered(request.consumer, request.number, seconds)
