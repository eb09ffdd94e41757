"""The router as a consumer: requests to the router itself, at `$management`, and its answers.

A request is a message with these application properties: `operation`, and the operation's arguments by their names. Its
`reply_to` says where the answer goes, which has its `correlation_id`, or else its `message_id`. An answer is a text
with a JSON object; its application properties are `statusCode`, as HTTP has them, and `statusDescription`. Of several
answers to one request, all but the last have the status 206.

To add an operation: a function that takes a `Request`, put into `Management.operations` by its name (`txrouter.service`
does it). It reads `argument` or `number`, and calls `answer`, once: at once or later, by `Management.later`. If it
raises `Refused`, that is the answer.

A request waits until the turn of the reactor is over, and there is one in a turn: so it is in the way of no message. It
is ACCEPTED if there is, or will be, an answer; REJECTED if none can be sent.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from txrouter.amqp import answers
from txrouter.amqp.deliveries import IncomingDelivery
from txrouter.amqp.turn import Turn
from txrouter.core.access import UNAUTHORIZED, refusal_without_rules
from txrouter.core.addresses import MANAGEMENT, is_reserved, normalise
from txrouter.core.deliveries import Malformed
from txrouter.core.links import Consumer
from txrouter.core.outcomes import ACCEPTED, Outcome, rejected
from txrouter.core.router import Router
from txrouter.core.users import SHOWN

if TYPE_CHECKING:
    from txrouter.amqp.incoming import IncomingLink

__all__ = [
    "BAD",
    "BUSY",
    "CONFLICT",
    "FORBIDDEN",
    "LONGEST",
    "MOST",
    "NOT_FOUND",
    "Call",
    "Later",
    "Management",
    "Operation",
    "Refused",
    "Request",
]

LONGEST: Final = 1 << 14
"""The most bytes of a request."""
MOST: Final = 16
"""Requests that wait, or are being answered, at a time."""
OK: Final = 200
MORE: Final = 206
BAD: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
FAILED: Final = 500
NOT_IMPLEMENTED: Final = 501
BUSY: Final = 503

_TOO_LONG = rejected("amqp:link:message-size-exceeded", f"a request has at most {LONGEST} bytes")


class Refused(Exception):
    """A request gets no more of an answer than this.

    :param status: as in HTTP: `BAD`, `FORBIDDEN`, `NOT_FOUND`, `BUSY` …
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Rejected(Exception):
    def __init__(self, condition: str, why: str) -> None:
        super().__init__(why)
        self.outcome = rejected(condition, why)


class Call(Protocol):
    """Something to be called later."""

    def cancel(self) -> None:
        """Do not call it."""


Later = Callable[[float, Callable[[], None]], Call]
"""Calls something after so many seconds, on the router's time, and ends the turn."""


class Request:
    """What somebody asks of the router.

    :param place: the address the answer goes to.
    """

    def __init__(self, management: Management, delivery: IncomingDelivery, producer: IncomingLink, place: str) -> None:
        self._management = management
        self._delivery = delivery
        self._producer = producer
        self._id = delivery.field("correlation_id")
        if self._id is None:
            self._id = delivery.field("message_id")
        self._place = place
        self.user = producer.user
        """Who asks."""
        self.stop: Callable[[], None] = lambda: None
        """Called if it is still being answered when the router stops: an operation that answers later puts there what
        ends that. It may answer."""

    def argument(self, name: str, default: object = None) -> Any:
        """The application property of that name: str, int, float, bool, bytes or uuid.UUID.

        :raise Malformed: the request cannot be read.
        """
        given = self._delivery.application_property(name)
        return default if given is None else given

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """An argument that is a number, between these.

        :raise Refused: it is not.
        """
        given = self.argument(name, default)
        if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
            raise Refused(BAD, f"{name} is not a number from {least:g} to {most:g}")
        return given

    def text(self, name: str) -> str:
        """An argument that is a text, and has to be there.

        :raise Refused: it is not.
        """
        given = self.argument(name)
        if not isinstance(given, str) or not given:
            raise Refused(BAD, f"{name} is missing" if given is None else f"{name} is not a text")
        return given

    def check_control(self) -> None:
        """For what changes something.

        :raise Refused: who asks may only ask.
        """
        permit = self._producer.permit
        refusal = permit.refusal("control") if permit is not None else None
        if refusal is not None:
            raise Refused(FORBIDDEN, refusal)

    @property
    def room(self) -> int:
        """How many messages may be sent to where the answer goes, at this moment."""
        return answers.room_at(self._management.router, self._place)

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for an answer any more: the link of who asked is gone, or there is no consumer."""
        if self._producer.pn is None:
            return True
        address = self._management.router.addresses.get(self._place)
        return address is None or not address.consumers

    def more(self, body: Mapping[str, object]) -> bool:
        """Send an answer that is not the last. Returns False if it had to be dropped, as nobody can take it now."""
        return self._send(MORE, "more follows", body)

    def answer(self, body: Mapping[str, object], status: int = OK, description: str = "OK") -> bool:
        """Send the answer. Returns False if it had to be dropped, as nobody can take it."""
        self._management.answered(self)
        return self._send(status, description, body)

    def _send(self, status: int, description: str, body: Mapping[str, object]) -> bool:
        said: dict[str, str | int] = {"statusCode": status, "statusDescription": description}
        data = answers.encode(self._id, said, json.dumps(body, separators=(",", ":"), default=str))
        return answers.send(self._management.router, self._place, data)


Operation = Callable[[Request], None]


class Management(Consumer):
    """The router's own consumer.

    :param turn: the turns of the router's reactor.
    :param later: see `Later`.
    :param name: its address.
    """

    __slots__ = ("_asked", "_open", "later", "operations", "router", "turn")

    def __init__(self, router: Router, turn: Turn, later: Later, name: str = MANAGEMENT) -> None:
        super().__init__(name, router.id, {})
        self.router = router
        self.turn = turn
        self.later = later
        self.operations: dict[str, Operation] = {}
        """What may be asked for, by name."""
        self._asked: deque[IncomingDelivery] = deque()
        """Requests that have come, and not been looked at."""
        self._open: dict[Request, None] = {}
        """Those that an operation has yet to answer."""

    def attach(self) -> None:
        """Take requests from now on."""
        self.router.attach_consumer(self, self.id)
        self._give_credit()

    def detach(self) -> None:
        """Take no more. What is still being answered is ended."""
        for request in list(self._open):
            request.stop()
        self._open.clear()
        self.router.detach_consumer(self)

    def _give_credit(self) -> None:
        self.router.credit(self, max(0, MOST - len(self._asked)))

    def answered(self, request: Request) -> None:
        """The last answer to a request is about to be sent."""
        self._open.pop(request, None)

    # -- as a consumer -----------------------------------------------------------------------------

    def send(self, delivery: IncomingDelivery) -> None:  # type: ignore[override]
        """Take a request; it is looked at when the turn is over."""
        if not delivery.read_all(LONGEST) or len(delivery.prefix or b"") > LONGEST:
            self._end(delivery, _TOO_LONG)
            self._give_credit()
            return
        producer = delivery.producer
        if producer is not None and producer.head is delivery:
            producer.advance(delivery)
            producer.let_go(delivery)
        elif producer is not None and producer.ahead:
            producer.let_go(delivery)
        self._asked.append(delivery)
        if len(self._asked) == 1:
            self._serve_later()

    def overrun(self) -> None:
        """It takes what it has credit for."""

    def _serve_later(self) -> None:
        self.turn.after.append(self._serve_next)
        self.turn.wake()

    def _serve_next(self) -> None:
        delivery = self._asked.popleft()
        if self._asked:
            self._serve_later()
        if delivery.presettled or delivery.pn is not None:  # its producer has not settled it, or gone
            try:
                outcome = self._serve(delivery)
            except _Rejected as error:
                outcome = error.outcome
            except Malformed as error:
                outcome = rejected("amqp:decode-error", str(error))
            self._end(delivery, outcome)
        self._give_credit()

    def _end(self, delivery: IncomingDelivery, outcome: Outcome) -> None:
        if outcome is not ACCEPTED:
            self.router.counters["refused_requests"] += 1
        if delivery.presettled:
            delivery.finish(outcome)
        else:
            self.router.settle(delivery, outcome)
        self.turn.wake()

    # -- serving -----------------------------------------------------------------------------------

    def _serve(self, delivery: IncomingDelivery) -> Outcome:
        """:raise _Rejected: there can be no answer."""
        producer = delivery.producer
        if producer is None:
            raise _Rejected("amqp:not-allowed", "its producer has gone")
        self._check_access(delivery)
        request = Request(self, delivery, producer, self._place_of(delivery))
        self.router.counters["requests"] += 1
        try:
            self._perform(request)
        except Refused as error:
            request.answer({"error": str(error)}, error.status, str(error))
        except Malformed:
            self.answered(request)
            raise
        except Exception as error:
            self.router.counters["failed_requests"] += 1
            self.router.report("request failed", {"operation": request.argument("operation"), "error": error})
            request.answer({"error": "the router failed to answer"}, FAILED, "the router failed to answer")
        return ACCEPTED

    def _perform(self, request: Request) -> None:
        """:raise Refused: it cannot be done."""
        name = request.text("operation")
        operation = self.operations.get(name)
        if operation is None:
            known = ", ".join(sorted(self.operations))
            raise Refused(NOT_IMPLEMENTED, f"there is no operation {name[:SHOWN]!r}; there is {known}")
        if len(self._open) >= MOST:
            raise Refused(BUSY, f"{MOST} requests are being answered already")
        self._open[request] = None
        operation(request)

    def _check_access(self, delivery: IncomingDelivery) -> None:
        """Its link was let in, or its message by the rules: without rules, an anonymous producer's is looked at here.

        :raise _Rejected: its producer may not send here.
        """
        producer = delivery.producer
        assert producer is not None
        if producer.target is None and producer.permit is None:
            refusal = refusal_without_rules(self.router, producer.connection.name, producer.user)
            if refusal is not None:
                self.router.counters["unauthorized_messages"] += 1
                raise _Rejected(UNAUTHORIZED, refusal)

    def _place_of(self, delivery: IncomingDelivery) -> str:
        """Where the answer goes: somewhere its producer may send to itself.

        :raise _Rejected: nowhere.
        """
        reply_to = delivery.field("reply_to")
        if not isinstance(reply_to, str):
            raise _Rejected("amqp:invalid-field", "a request needs a reply-to")
        try:
            path = normalise(reply_to)
        except ValueError as error:
            raise _Rejected("amqp:invalid-field", f"reply-to: {error}") from None
        place = self.router.resolve(path)
        if is_reserved(place):
            raise _Rejected("amqp:not-allowed", "no answer goes to the router itself")
        permit = delivery.producer.permit if delivery.producer is not None else None
        refusal = permit.refusal("send", path) if permit is not None else None
        if refusal is not None:
            raise _Rejected(UNAUTHORIZED, refusal)
        return place
