"""What clients do with their links: send, take, ask and answer, each in a way of its own."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass
from random import Random
from typing import Any

import proton

from soak import messages
from soak.ledger import Entry, Key, Ledger
from soak.peers import Peer
from tests.net.clients import DYNAMIC
from tests.net.links import ACCEPTED, LOST, RELEASED, SETTLED, Error, Received, Receiver, Sender, Sent, State

__all__ = ["ADDRESSES", "RPC", "Address", "Consumer", "Pace", "Producer", "Responder"]

ELSEWHERE = State("modified", undeliverable=True)
FAILED_HERE = State("modified", failed=True, undeliverable=True)
UNCHANGED = State("modified")
REFUSED = State("rejected", error=Error("soak:refused", "not wanted"))
STATES = {ACCEPTED: 80, RELEASED: 8, ELSEWHERE: 3, FAILED_HERE: 2, LOST: 2, UNCHANGED: 1, REFUSED: 3, SETTLED: 1}
_PIECE = 1 << 16
_HAD_ENOUGH = 0.02
"""How likely a consumer refuses a long message at each piece of it."""
_UNSENT = 1 << 18
"""Bytes that a session may have unsent before its producers wait."""


@dataclass(frozen=True)
class Address:
    """An address, and what its consumers and producers may expect."""

    name: str
    copied: bool = False


ADDRESSES = [
    Address("pull.0"),
    Address("pull.1"),
    Address("robin.0"),
    Address("weighted.0"),
    Address("balanced.0"),
    Address("closest.0"),
    Address("two.0"),
    Address("idle.0"),
    Address("ewma.0"),
    Address("priority.0"),
    Address("multicast.0", copied=True),
    Address("dropping.0", copied=True),
    Address("detaching.0", copied=True),
    Address("rpc.0"),
]
RPC = ADDRESSES[-1]
"""Where requests go."""


class Pace:
    """How fast all producers together send, and the numbers that all roles share.

    :param rate: messages in a second.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.producers = 0
        self.numbers = itertools.count()

    @property
    def each(self) -> float:
        """Messages in a second of one producer."""
        return self.rate / max(1, self.producers)


class Producer:
    """Sends to an address, or, with None, to many.

    :param calm: whether it does nothing but send small messages, unsettled.
    :param replies: where those go who answer.
    """

    def __init__(
        self,
        peer: Peer,
        ledger: Ledger,
        pace: Pace,
        random: Random,
        address: Address | None,
        session: Any,
        *,
        calm: bool = False,
        replies: Consumer | None = None,
    ) -> None:
        self._peer = peer
        self._ledger = ledger
        self._pace = pace
        self._random = random
        self._address = address
        self.session = session
        self._calm = calm
        self._replies = replies
        self._number = next(pace.numbers)
        self._messages = itertools.count()
        self._due = random.random()
        self._half: tuple[Sent, Key, bytes, int] | None = None
        """A message that is being sent in pieces, all of it, and how much has gone."""
        self._keys: dict[Sent, Key] = {}
        self._presettles = 0.0 if calm else random.choice([0, 0, 0.1, 1])
        self.stopped = False
        self.outcomes: Counter[str] = Counter()
        """What it was told, and how often."""
        mode = (
            proton.Link.SND_SETTLED
            if self._presettles == 1
            else random.choice(
                [proton.Link.SND_MIXED, proton.Link.SND_MIXED if self._presettles else proton.Link.SND_UNSETTLED]
            )
        )
        self._second = random.random() < 0.2 and not self._presettles
        self.link: Sender = peer.attach_sender(
            address.name if address is not None else None,
            session=session,
            mode=mode,
            settles=proton.Link.RCV_SECOND if self._second else proton.Link.RCV_FIRST,
        )
        peer.take(self)
        pace.producers += 1

    @property
    def idle(self) -> bool:
        """Whether it has nothing to say any more, and nothing to hear."""
        return self._half is None and not self._keys

    def step(self, seconds: float) -> None:
        if self.link.drain_asked and self._half is None:
            self.link.drained()
        if self._half is not None:
            self._go_on()
            return
        if self.stopped:
            return
        self._due = min(self._due + seconds * self._pace.each, 20.0)
        while self._due >= 1 and self.may_send():
            self._due -= 1
            self.send()

    def sends_to(self, address: str) -> bool:
        """Whether all of its messages go there, and there may be more of them."""
        return self._address is not None and self._address.name == address and not self.stopped

    def may_send(self) -> bool:
        """Whether it can send a message now."""
        return (
            self._half is None
            and self.link.credit > 0
            and not self._peer.full
            and int(self.session.outgoing_bytes) < _UNSENT
        )

    def send(self, address: Address | None = None, size: int = 0, **fields: Any) -> Key:
        """Send a message, or begin to; of any size, if none is given."""
        random = self._random
        number = next(self._messages)
        key = (self._number, number)
        target = address or self._address or random.choice(ADDRESSES)
        if not self._calm and random.random() < 0.3:
            fields["priority"] = random.randrange(10)
        if self._replies is not None and self._replies.address:
            fields["reply_to"] = self._replies.address
        if not self._calm and random.random() < 0.05:
            fields["ttl"] = random.choice([20, 1000, 60_000])
        size = size or (random.randrange(40, 500) if self._calm else messages.some_size(random))
        data = messages.message(key, size, to=target.name if self._address is None else None, **fields)
        presettled = random.random() < self._presettles
        self._ledger.sent(
            Entry(
                key,
                target.name,
                len(data),
                messages.checksum(data),
                self._ledger.now(),
                presettled=presettled,
                copied=target.copied,
                mortal="ttl" in fields,
                priority=fields.get("priority", 4),
            )
        )
        if len(data) > _PIECE or (not self._calm and random.random() < 0.02):
            self._half = self.link.begin(presettled=presettled), key, data, 0
            if not presettled:
                self._keys[self._half[0]] = key
            self._go_on()
        else:
            sent = self.link.send(data, presettled=presettled)
            if not presettled:
                self._keys[sent] = key
                if not self._calm and random.random() < 0.005:
                    self._withdraw(sent, "settled")
        return key

    def _go_on(self) -> None:
        assert self._half is not None
        sent, key, data, gone = self._half
        # where the router has settled it, the rest has to be sent all the same, or it is aborted
        aborts = 0.5 if sent.settled else 0.02 if gone else 0.0
        if not self._calm and self._random.random() < aborts:
            self._abort()
            return
        while gone < len(data):
            if self._peer.full or int(self.session.outgoing_bytes) >= _UNSENT:
                break
            piece = data[gone : gone + min(_PIECE, max(1, len(data) // 2))]
            sent.write(piece)
            gone += len(piece)
        self._half = sent, key, data, gone
        if gone >= len(data):
            self._half = None
            sent.end()
            self._hear(sent)

    def _abort(self) -> None:
        assert self._half is not None
        sent, key, _, _ = self._half
        self._half = None
        sent.abort()
        self._keys.pop(sent, None)
        self._ledger.withdrawn(key, "aborted")

    def _withdraw(self, sent: Sent, how: str) -> None:
        key = self._keys.pop(sent)
        sent.settle()
        self._ledger.withdrawn(key, how)

    def finish(self) -> None:
        """Send no more, but for the end of what was begun."""
        self.stopped = True

    def heard(self, sent: Sent) -> None:
        if sent.state != SETTLED and sent.state.name != "received" and not sent.settled and self._half_sent is not sent:
            # settled by nobody so far: with this mode it is for the producer to do that
            if sent in self._keys:
                self._told(sent)
                sent.settle()
        else:
            self._hear(sent)

    @property
    def _half_sent(self) -> Sent | None:
        return self._half[0] if self._half is not None else None

    def _hear(self, sent: Sent) -> None:
        if sent.settled and self._half_sent is not sent:
            self._told(sent)

    def _told(self, sent: Sent) -> None:
        key = self._keys.pop(sent, None)
        if key is not None:
            self.outcomes[sent.state.name] += 1
            self._ledger.told(key, sent.state)

    def came(self) -> None:
        pass

    def give_up(self) -> None:
        if self._half is not None:
            self._abort()

    def over(self) -> None:
        self.stopped = True
        self._pace.producers -= 1
        self._ledger.producer_gone(self._number)


class Consumer:
    """Takes what an address has for it; with None, what is sent to an address of its own.

    :param calm: whether it accepts all there is, at once.
    """

    def __init__(
        self,
        peer: Peer,
        ledger: Ledger,
        pace: Pace,
        random: Random,
        address: Address | None,
        session: Any,
        *,
        calm: bool = False,
    ) -> None:
        self._ledger = ledger
        self._random = random
        self.session = session
        self._calm = calm
        self._number = next(pace.numbers)
        self._credit = 100 if calm else random.choice([1, 1, 2, 10, 50, 250])
        self._delay = 0.0 if calm else random.choice([0, 0, 0, 0.02, 0.3, 2]) * random.random()
        self._answers = random.random() > 0.05
        """Whether it ever says anything."""
        self._second = random.random() < 0.2
        self._waiting: deque[tuple[float, Received, Key]] = deque()
        """What it has not answered yet, and when it will."""
        self._said: list[Received] = []
        """What it has answered, and its producer is to settle."""
        self._draining = 0.0
        self._over = False
        self.address = address.name if address is not None else ""
        """Where it consumes from; empty as long as it does not know."""
        self.link: Receiver = peer.attach_receiver(
            address.name if address is not None else DYNAMIC,
            credit=self._credit,
            session=session,
            settles=proton.Link.RCV_SECOND if self._second else proton.Link.RCV_FIRST,
            properties={"capacity": random.choice([1, 2, 5])},
        )
        if address is not None:
            ledger.consumer(self._number, address.name)
        peer.take(self)

    def step(self, seconds: float) -> None:
        if not self.address:
            self.address = self.link.address
            self._ledger.consumer(self._number, self.address)
            self.came()
        self._answer()
        settled = [each for each in self._said if each.settled or self._calm]
        for received in settled:
            self._said.remove(received)
            received.settle()
        self._feed(seconds)

    def _answer(self) -> None:
        now = self._ledger.now()
        while self._waiting and (self._calm or (self._answers and self._waiting[0][0] <= now)):
            _, received, key = self._waiting.popleft()
            state = ACCEPTED if self._calm else self._random.choices(list(STATES), list(STATES.values()))[0]
            self._ledger.answered(key, self._number, state)
            if self._second and state != SETTLED and not received.settled and not self._calm:
                received.update(state)
                self._said.append(received)
            else:
                received.settle(state)

    def _feed(self, seconds: float) -> None:
        if self._draining > 0:
            self._draining -= seconds
            if self._draining > 0:
                return
            self.link.link.drain_mode = False
        elif not self._calm and self._random.random() < 0.002:
            self._draining = 0.5
            self.link.drain()
            return
        if self.link.credit <= self._credit // 2:
            self.link.flow(self._credit - self.link.credit)

    def heard(self, sent: Sent) -> None:
        pass

    def came(self) -> None:
        if not self.address:
            return
        link = self.link
        received, link.messages[:] = link.messages[:], []
        link.aborted.clear()
        for each in received:
            key = messages.key_of(each.data)
            self._ledger.arrived(key, self._number, len(each.data), messages.checksum(each.data))
            if self._over:
                continue
            self.got(each)
            each.data = bytearray()
            if not each.settled:
                self._waiting.append((self._ledger.now() + self._delay, each, key))
        if self._over:
            return
        if link.coming is not None and self._random.random() < _HAD_ENOUGH:
            self._refuse_half(link.coming)
        if not self._delay:
            self._answer()

    def _refuse_half(self, coming: Received) -> None:
        """Say something of a message before its end."""
        if self._calm or not self._answers or coming.settled or len(coming.data) < messages.FAR:
            return
        state = self._random.choice([RELEASED, ELSEWHERE, LOST, REFUSED])
        self._ledger.answered_half(messages.key_of(coming.data), self._number, state)
        coming.settle(state)
        self.link.coming = None

    def got(self, received: Received) -> None:
        """A message has come."""

    def calm_down(self) -> None:
        """Accept all there is from now on, at once."""
        self._calm = True
        self._delay = 0.0
        self._draining = min(self._draining, 0.01)
        self._credit = max(self._credit, 100)

    def give_up(self) -> None:
        pass

    def over(self) -> None:
        self._over = True
        self._ledger.consumer_lost(self._number)


class Responder(Consumer):
    """A consumer that answers requests by a producer of its own, which sends other things too."""

    relay: Producer | None = None

    def got(self, received: Received) -> None:
        if self.relay is None or self.relay.stopped or len(received.data) > _PIECE or not self.relay.may_send():
            return
        reply_to = messages.reply_to_of(received.data)
        if reply_to is not None:
            self.relay.send(Address(reply_to))
