"""The clients of a soak: as many as there are to be, coming, going, and dying as chance will have it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.task import LoopingCall

from soak.ledger import Ledger
from soak.peers import Peer, Role, ScramPeer
from soak.roles import ADDRESSES, RPC, Consumer, Pace, Producer, Responder
from tests.net.conversations import CONVERSATIONS
from tests.net.frames import AMQP, attach, begin, open_
from tests.net.raw import RawClient
from tests.net.waiting import reactor

__all__ = ["BEAT", "Population"]

BEAT = 0.05
"""Seconds between looks at what there is to do."""
_TICK_EVERY = 20
_RECOVERY = 4.0
"""Seconds in which one that reads again has read all there was."""
_EXPECTED = ("amqp:resource-limit-exceeded",)
"""Why a link may be detached: of `detaching`, for a consumer without credit."""
_LINKS = 6
_FLOODED, _FLOOD = 0.3, 2_000_000
"""How often one that does not read is sent more than a socket takes, and the size of that."""
_HALVES = [AMQP[:3], AMQP + open_()[:9], AMQP + open_() + begin()[:20], AMQP + open_() + begin() + attach(True)[:30]]
"""What is said by who is gone in the middle of it."""


class Population:
    """The clients.

    :param ports: of the router: one for everybody, and one for TLS and SCRAM.
    :param tls: options for the second.
    :param size: how many connections there are to be.
    :param chaos: how many accidents there are to be in a second.
    """

    def __init__(
        self,
        ports: Sequence[int],
        tls: Any,
        ledger: Ledger,
        random: Random,
        *,
        size: int,
        rate: float,
        chaos: float,
    ) -> None:
        plain, safe = (TCP4ClientEndpoint(reactor, "127.0.0.1", port) for port in ports)
        self._plain = plain
        self._safe = wrapClientTLS(tls, safe)
        self._ledger = ledger
        self._random = random
        self._size = size
        self._chaos = chaos
        self.pace = Pace(rate)
        self.peers: dict[Peer, None] = {}
        self.raw: list[RawClient] = []
        self.accidents: Counter[str] = Counter()
        self._connecting = 0
        self._wanted = 0
        self._wild = False
        self._beats = 0
        self._names = itertools.count()
        self._loop = LoopingCall(self._beat)

    # -- coming and going --------------------------------------------------------------------------

    def start(self) -> None:
        """Have them come, and run wild."""
        self._wanted = self._size
        self._wild = True
        if not self._loop.running:
            self._loop.start(BEAT).addErrback(self._failed)

    def calm(self) -> None:
        """Have them send no more, and take what there is; those that are half dead go."""
        self._wild = False
        self._wanted = 0
        for peer in list(self.peers):
            if peer.stalled:
                peer.go_on()
            if peer.doomed == "fell silent":
                peer.vanish()
        for role in self.roles():
            if isinstance(role, Producer):
                role.finish()
            elif isinstance(role, Consumer):
                role.calm_down()
        for raw in self.raw:
            raw.abort()
        self.raw.clear()

    def leave(self) -> None:
        """Have all of them gone."""
        for peer in list(self.peers):
            self._random.choice([peer.leave, peer.vanish, peer.reset])()

    def stop(self) -> None:
        """Look after them no more."""
        if self._loop.running:
            self._loop.stop()

    def roles(self) -> list[Role]:
        """All links that there are."""
        return [role for peer in self.peers for role in peer.roles.values()]

    def _failed(self, failure: Any) -> None:
        self._ledger.wrong(f"the soak itself failed: {failure.getTraceback()}")

    def connect(self, populate: Callable[[Peer], None], *, safe: bool, hangs_at: int = 0) -> None:
        """Have one come, and do that when it is there.

        :param safe: whether by TLS and SCRAM.
        :param hangs_at: as `ScramPeer` has it.
        """
        name = f"soak-{next(self._names)}"
        peer = ScramPeer(name, self._gone, hangs_at) if safe else Peer(name, self._gone)
        self._connecting += 1

        def connected(_: Any) -> None:
            self._connecting -= 1
            self.peers[peer] = None
            populate(peer)

        def refused(failure: Any) -> None:
            self._connecting -= 1
            self._ledger.wrong(f"{name} could not connect: {failure.value}")

        made = connectProtocol(self._safe if safe else self._plain, peer)
        made.addCallbacks(connected, refused).addErrback(self._failed)

    def _gone(self, peer: Peer) -> None:
        self.peers.pop(peer, None)
        self._hear_complaints(peer)
        if not peer.doomed:
            kind = f"{'by TLS, ' * isinstance(peer, ScramPeer)}{'open' if peer.open else 'not open yet'}"
            why = f"{peer.reason} {peer.error or ''}"
            self._ledger.wrong(f"{peer.connection.container}, {kind}, was lost, though it behaved: {why}")

    def _hear_complaints(self, peer: Peer) -> None:
        for complaint in peer.complaints:
            if complaint.endswith(_EXPECTED):
                self.accidents["detached by the router"] += 1
            else:
                self._ledger.wrong(complaint)
        peer.complaints.clear()

    # -- what they do ------------------------------------------------------------------------------

    def _populate(self, peer: Peer) -> None:
        if not self._wild:  # all has calmed down since it set out
            peer.leave()
            return
        for _ in range(self._random.randint(1, 4)):
            self._add_role(peer)

    def _add_role(self, peer: Peer) -> None:
        random = self._random
        common = (peer, self._ledger, self.pace, random)
        sessions = list(dict.fromkeys(role.session for role in peer.roles.values()))
        session = random.choice(sessions) if sessions and random.random() < 0.5 else peer.new_session()
        address = random.choice(ADDRESSES[:-1])
        kind = random.choice(["consumer"] * 5 + ["producer"] * 4 + ["relay", "requester", "responder"])
        if kind == "consumer":
            Consumer(*common, address, session)
        elif kind == "producer":
            Producer(*common, address, session)
        elif kind == "relay":
            Producer(*common, None, session)
        elif kind == "requester":
            Producer(*common, RPC, session, replies=Consumer(*common, None, session))
        else:
            Responder(*common, RPC, session).relay = Producer(*common, None, session)

    def _beat(self) -> None:
        random = self._random
        self._beats += 1
        for peer in list(self.peers):
            peer.step(BEAT)
            if self._beats % _TICK_EVERY == 0:
                self._hear_complaints(peer)
                peer.tick()
        if self._wild:
            for _ in range(min(5, self._wanted - len(self.peers) - self._connecting)):
                self.connect(self._populate, safe=random.random() < 0.25, hangs_at=random.choice([0, 0, 0, 0, 0, 1, 2]))
            for peer in list(self.peers):
                if not peer.doomed and len(peer.roles) < _LINKS and random.random() < 0.01:
                    self._add_role(peer)
            accidents = self._chaos * BEAT
            for _ in range(int(accidents) + (random.random() < accidents % 1)):
                self._accident()
        if self._beats % 100 == 0:
            self._ledger.convict()
            self._ledger.strike_out()

    # -- what becomes of them ----------------------------------------------------------------------

    def _accident(self) -> None:
        random = self._random
        kinds = {
            self._vanish: 3,
            self._reset: 3,
            self._silence: 2,
            self._stall: 3,
            self._close_link: 5,
            self._detach_link: 5,
            self._end_session: 3,
            self._leave: 3,
            self._half_handshake: 1,
            self._garbage: 2,
            self._storm: 0.2,
        }
        (kind,) = random.choices(list(kinds), list(kinds.values()))
        victims = [peer for peer in self.peers if not peer.doomed]
        if victims:
            self.accidents[kind.__name__.strip("_").replace("_", " ")] += 1
            kind(random.choice(victims))

    def _vanish(self, peer: Peer) -> None:
        peer.vanish()

    def _reset(self, peer: Peer) -> None:
        peer.reset()

    def _silence(self, peer: Peer) -> None:
        peer.fall_silent(self._random.choice([0, 1, 7, 30, 300, 20_000]))

    def _stall(self, peer: Peer) -> None:
        peer.stall()
        if self._random.random() < _FLOODED:
            for role in peer.roles.values():
                if isinstance(role, Consumer):
                    self._send_to(role.address, _FLOOD)
        seconds = self._random.choice([0.3, 1, 3, 8])
        reactor.callLater(seconds, peer.go_on)
        reactor.callLater(seconds + _RECOVERY, peer.recover)

    def _leave(self, peer: Peer) -> None:
        peer.leave()

    def _close_link(self, peer: Peer) -> None:
        self._end_link(peer, closed=True)

    def _detach_link(self, peer: Peer) -> None:
        self._end_link(peer, closed=False)

    def _end_link(self, peer: Peer, *, closed: bool) -> None:
        roles = [role for role in peer.roles.values() if role.link.open]
        if roles:
            role = self._random.choice(roles)
            if isinstance(role, Consumer):
                self._send_to(role.address)
            role.give_up()
            peer.drop(role, listening=isinstance(role, Consumer))
            (role.link.close if closed else role.link.detach)()

    def _send_to(self, address: str, size: int = 0) -> None:
        """Have messages for a consumer on their way at the very moment at which something happens to it."""
        for role in self.roles():
            if isinstance(role, Producer) and role.sends_to(address) and role.link.open and role.may_send():
                role.send(size=size)

    def _end_session(self, peer: Peer) -> None:
        if not peer.roles:
            return
        session = self._random.choice(list(peer.roles.values())).session
        for role in peer.roles.values():
            if isinstance(role, Consumer) and role.session is session:
                self._send_to(role.address)
        for each in [each for each in peer.roles.values() if each.session is session]:
            each.give_up()
            peer.drop(each, listening=isinstance(each, Consumer))
        session.close()
        peer.flush()

    def _storm(self, peer: Peer) -> None:
        for each in self._random.sample(list(self.peers), len(self.peers) // 2):
            if not each.doomed:
                self._random.choice([each.vanish, each.reset])()

    def _half_handshake(self, peer: Peer) -> None:
        self._say([self._random.choice(_HALVES)])

    def _garbage(self, peer: Peer) -> None:
        conversation = self._random.choice(list(CONVERSATIONS.values()))
        self._say([piece[: 1 << 20] for piece in conversation.pieces])

    def _say(self, pieces: Sequence[bytes]) -> None:
        def connected(raw: RawClient) -> None:
            raw.say(*pieces)
            self.raw.append(raw)
            reactor.callLater(self._random.uniform(0.05, 6), raw.abort)
            self.raw = [each for each in self.raw if not each.lost]

        connectProtocol(self._plain, RawClient()).addCallbacks(connected, lambda _: None)
