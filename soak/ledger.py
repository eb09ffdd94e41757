"""What became of every message, and whether that may be so.

The clients write down what they do and see: who sent a message, who got it and what they said of it, what its producer
was told. All of them live in one process, so the order in the book is an order in which it can have happened: what a
client has read had been written by the router before.

What the router does is seen late only by clients that do not read, or that are lost and do not know it yet. So what
looks wrong, but would be right if such a client is lost, is a doubt at first. One about a certain consumer is confirmed
by a message that it gets and that was sent later: then it was not lost. One about any consumer of an address is
confirmed where none was lost in `PATIENCE` seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.net.links import RELEASED, State

__all__ = ["KEPT_FOR", "PATIENCE", "Entry", "Key", "Ledger", "Problem"]

PATIENCE = 20.0
"""Seconds in which a client notices that it is lost: those for which one stalls, and some."""
KEPT_FOR = 60.0
"""Seconds after which a message that is over, and that nobody owes an answer for, is struck out."""
_UNNOTICED = 5.0
"""Seconds in which the router notices that a client is lost, or wanted to leave: until then it sends to it."""
_MOST_TOLD = 20
"""Problems that are kept with the history of their message; of the rest only the number."""

Key = tuple[int, int]
"""A producer, and the number of a message among its messages."""
Clock = Callable[[], float]


def gives_back(state: State | None) -> bool:
    """Whether the router may offer a message to another consumer when one says this."""
    return state is not None and (state == RELEASED or (state.name == "modified" and state.undeliverable))


@dataclass(slots=True)
class Holder:
    """A consumer that got a message, or so much of one that it could say something of it."""

    consumer: int
    at: float
    said: State | None = None
    said_at: float = 0.0


@dataclass(slots=True)
class Entry:
    """A message."""

    key: Key
    address: str
    size: int
    checksum: int
    sent_at: float
    presettled: bool = False
    copied: bool = False
    """Whether every consumer of its address gets one."""
    mortal: bool = False
    """Whether its time to live may run out."""
    priority: int = 4
    told: State | None = None
    over: str = ""
    """How it is over for its producer: it was told, has withdrawn or aborted it, or is gone; empty while it is not."""
    over_at: float = 0.0
    holders: list[Holder] = field(default_factory=list)

    @property
    def kept(self) -> list[Holder]:
        """Who got it and has not given it back."""
        return [holder for holder in self.holders if not gives_back(holder.said)]

    def history(self) -> list[str]:
        """What is known of it, in order."""
        kind = f"{'pre-settled, ' if self.presettled else ''}{self.size} bytes, to {self.address}"
        lines = [(self.sent_at, f"producer {self.key[0]} sent its number {self.key[1]}, {kind}")]
        for holder in self.holders:
            lines.append((holder.at, f"consumer {holder.consumer} got it"))
            if holder.said is not None:
                lines.append((holder.said_at, f"consumer {holder.consumer} said {shown(holder.said)}"))
        if self.over:
            what = f"told {shown(self.told)}" if self.told is not None else self.over
            lines.append((self.over_at, f"for its producer it is over: {what}"))
        return [f"{at:9.3f} {line}" for at, line in sorted(lines, key=lambda each: each[0])]


def shown(state: State | None) -> str:
    """A state, for people."""
    if state is None:
        return "nothing"
    flags = (" delivery-failed" * state.failed) + (" undeliverable-here" * state.undeliverable)
    return f"{state.name.upper() or 'nothing, and settled it'}{flags}{f' {state.error.name}' if state.error else ''}"


@dataclass(frozen=True)
class Problem:
    """What must not be, and the history of the message that it is about."""

    at: float
    what: str
    history: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"at {self.at:.3f} s: {self.what}", *self.history])


@dataclass(frozen=True, slots=True)
class _Doubt:
    at: float
    what: str
    entry: Entry


class Ledger:
    """The book.

    :param clock: seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self.now = clock
        self.entries: dict[Key, Entry] = {}
        """All that are not struck out."""
        self.counts: Counter[str] = Counter()
        """How often each thing happened."""
        self.problems: list[Problem] = []
        self._addresses: dict[int, str] = {}
        """Where each consumer that is there consumes from."""
        self._lost: dict[int, str] = {}
        """The same for those that are not, to whom something may be on its way."""
        self._owing: dict[int, dict[Key, Holder]] = {}
        self._latest: dict[int, dict[tuple[int, int], int]] = {}
        """For each consumer, the last number that it got of each producer with each priority."""
        self._loss: dict[str, float] = defaultdict(lambda: -PATIENCE)
        """When a consumer of each address was lost last."""
        self._of_consumers: dict[int, list[_Doubt]] = {}
        self._of_addresses: dict[str, list[_Doubt]] = defaultdict(list)
        self._open: dict[int, dict[Key, Entry]] = defaultdict(dict)

    # -- problems ----------------------------------------------------------------------------------

    def wrong(self, what: str, entry: Entry | None = None, at: float | None = None) -> None:
        """Note a problem."""
        self.counts["problems"] += 1
        if len(self.problems) < _MOST_TOLD:
            history = tuple(entry.history()) if entry is not None else ()
            self.problems.append(Problem(self.now() if at is None else at, what, history))

    def _doubt_consumer(self, consumer: int, what: str, entry: Entry) -> None:
        if consumer in self._addresses:  # or it is lost, which explains it
            self._of_consumers.setdefault(consumer, []).append(_Doubt(self.now(), what, entry))

    def _doubt_address(self, what: str, entry: Entry) -> None:
        if self._loss[entry.address] + _UNNOTICED < entry.sent_at:
            self._of_addresses[entry.address].append(_Doubt(self.now(), what, entry))

    # -- what producers do and hear ----------------------------------------------------------------

    def sent(self, entry: Entry) -> None:
        """A producer begins to send a message."""
        self.entries[entry.key] = entry
        self.counts["sent"] += 1
        self.counts["bytes"] += entry.size
        if entry.presettled:
            self._close(entry, "pre-settled")
        else:
            self._open[entry.key[0]][entry.key] = entry

    def withdrawn(self, key: Key, how: str) -> None:
        """Its producer will not be told: it has `aborted` it, half sent, or `settled` it itself."""
        self._close(self.entries[key], how)

    def producer_gone(self, producer: int) -> None:
        """A producer's link has ended: it will not hear any more."""
        for entry in self._open.pop(producer, {}).values():
            entry.over, entry.over_at = "gone", self.now()

    def told(self, key: Key, state: State) -> None:
        """A producer hears what became of a message."""
        entry = self.entries[key]
        if entry.over:
            if entry.told is not None:
                self.wrong(f"its producer was told another time: {shown(state)}", entry)
            return
        entry.told = state
        self._close(entry, "told")
        self.counts[state.name or "settled"] += 1
        (self._check_copies if entry.copied else self._check_told)(entry, state)

    def _close(self, entry: Entry, how: str) -> None:
        entry.over, entry.over_at = how, self.now()
        self._open[entry.key[0]].pop(entry.key, None)

    # -- what consumers get and say ----------------------------------------------------------------

    def consumer(self, consumer: int, address: str) -> None:
        """A consumer attaches."""
        self._addresses[consumer] = address
        self._owing[consumer] = {}
        self._latest[consumer] = {}

    def consumer_lost(self, consumer: int) -> None:
        """A consumer's link has ended, whoever ended it."""
        address = self._addresses.pop(consumer, None)
        if address is None:
            return
        self._lost[consumer] = address
        self._loss[address] = self.now()
        self._of_addresses.pop(address, None)
        self._of_consumers.pop(consumer, None)
        del self._owing[consumer], self._latest[consumer]

    def arrived(self, key: Key, consumer: int, size: int, checksum: int) -> None:
        """A consumer got a message whole."""
        self.counts["arrived"] += 1
        entry = self.entries.get(key)
        if entry is None:
            self.wrong(
                f"consumer {consumer} got number {key[1]} of producer {key[0]}, which was not sent or is long over"
            )
            return
        self._confirm(consumer, entry)
        if (size, checksum) != (entry.size, entry.checksum):
            self.wrong(f"consumer {consumer} got other bytes than were sent: {size} of them", entry)
        address = self._addresses.get(consumer) or self._lost.get(consumer)
        if address != entry.address:
            self.wrong(f"consumer {consumer} got it, which consumes from {address}", entry)
        self._check_arrival(entry, consumer)
        self._check_order(entry, consumer)
        holder = Holder(consumer, self.now())
        entry.holders.append(holder)
        if not entry.presettled and consumer in self._owing:
            self._owing[consumer][key] = holder

    def answered(self, key: Key, consumer: int, state: State) -> None:
        """A consumer says what becomes of a message; what it says first counts."""
        holder = self._owing.get(consumer, {}).pop(key, None)
        if holder is not None:
            holder.said, holder.said_at = state, self.now()

    def answered_half(self, key: Key, consumer: int, state: State) -> None:
        """A consumer has had enough of a message that is still coming."""
        self.counts["answered half"] += 1
        now = self.now()
        self.entries[key].holders.append(Holder(consumer, now, state, now))

    # -- laws --------------------------------------------------------------------------------------

    def _check_arrival(self, entry: Entry, consumer: int) -> None:
        again = f"consumer {consumer} got it"
        if any(holder.consumer == consumer for holder in entry.holders):
            self.wrong(f"{again} twice", entry)
        elif entry.over == "aborted":
            self.wrong(f"{again} whole, though its producer had aborted it", entry)
        elif not entry.copied and entry.kept:
            self.wrong(f"{again}, though consumer {entry.kept[0].consumer} had it and has not given it back", entry)
        elif entry.told is not None:
            # it may have been on its way to one that is lost, for which the producer was told; or another had a copy
            failed = entry.told.name == "modified" and entry.told.failed
            excused = failed or (entry.copied and entry.told != RELEASED)
            what = f"{again} after its producer had been told {shown(entry.told)}"
            if excused:
                self._doubt_consumer(consumer, f"{what}, and was not lost", entry)
            else:
                self.wrong(what, entry)

    def _check_order(self, entry: Entry, consumer: int) -> None:
        latest = self._latest.get(consumer)
        producer, number = entry.key
        if latest is None:
            return
        last = latest.get((producer, entry.priority), -1)
        if number > last:
            latest[producer, entry.priority] = number
        elif not entry.holders or entry.copied:
            # one that was given back, or that a consumer was to get that is lost, may come late
            self._doubt_address(f"consumer {consumer} got it after number {last}, and no consumer was lost", entry)

    def _check_told(self, entry: Entry, state: State) -> None:
        kept = entry.kept
        said = kept[0].said if kept else None
        returned = [holder.said for holder in entry.holders if gives_back(holder.said)]
        told = f"its producer was told {shown(state)}"
        if kept and said == state:
            return
        if state.name == "modified" and state.failed:
            if kept and said is not None:
                self._doubt_consumer(
                    kept[0].consumer, f"{told}, and consumer {kept[0].consumer} said {shown(said)}", entry
                )
            elif kept:
                self._doubt_consumer(kept[0].consumer, f"{told}, and consumer {kept[0].consumer} said nothing", entry)
            elif not any(each is not None and each.failed for each in returned):
                self._doubt_address(f"{told}, and no consumer was lost", entry)
        elif kept:
            self.wrong(f"{told}, and consumer {kept[0].consumer} said {shown(said)}", entry)
        elif state == RELEASED:
            if any(each is not None and each.failed for each in returned):
                self.wrong(f"{told}, and a consumer had said that delivery failed", entry)
        elif state.name == "modified" and state.undeliverable:
            if state not in returned:
                self.wrong(f"{told}, and no consumer had said so", entry)
        elif not self._is_expired(entry, state):
            self.wrong(f"{told}, and no consumer had said so", entry)

    def _check_copies(self, entry: Entry, state: State) -> None:
        said = [holder.said for holder in entry.holders]
        told = f"its producer was told {shown(state)}"
        if state.name == "modified" and state.failed:
            if not any(each is not None and each.failed for each in said):
                self._doubt_address(f"{told}, and no consumer was lost", entry)
        elif state == RELEASED:
            pass  # each of them has to have said so, which is seen to below
        elif state.name == "modified":
            if not any(each is not None and each.name == "modified" for each in said):
                self.wrong(f"{told}, and no consumer had said so", entry)
        elif state not in said and not (self._is_expired(entry, state) and not said):
            self.wrong(f"{told}, and no consumer had said so", entry)
        for holder in entry.holders:
            # of those that the router had not lost it has heard all, and the one that says most is what counts
            if holder.said is None or _weight(holder.said) > _weight(state):
                what = f"{told}, and consumer {holder.consumer} said {shown(holder.said)}"
                self._doubt_consumer(holder.consumer, what, entry)
            elif state == RELEASED and holder.said != RELEASED:
                self.wrong(f"{told}, and consumer {holder.consumer} said {shown(holder.said)}", entry)

    def _is_expired(self, entry: Entry, state: State) -> bool:
        return entry.mortal and state.error is not None and state.error.name == "amqp:message-expired"

    # -- time --------------------------------------------------------------------------------------

    def _confirm(self, consumer: int, entry: Entry) -> None:
        for doubt in self._of_consumers.pop(consumer, ()):
            if doubt.at < entry.sent_at:
                self.wrong(doubt.what, doubt.entry, doubt.at)
            else:
                self._of_consumers.setdefault(consumer, []).append(doubt)

    def convict(self, patience: float = PATIENCE) -> None:
        """See which doubts about any consumer are confirmed by now; with no patience, when all clients know whether
        they are lost, it is all that are left."""
        now = self.now()
        for address, doubts in list(self._of_addresses.items()):
            waiting = [doubt for doubt in doubts if now - doubt.at < patience]
            for doubt in doubts:
                if now - doubt.at >= patience:
                    self.wrong(doubt.what, doubt.entry, doubt.at)
            self._of_addresses[address] = waiting

    def strike_out(self) -> None:
        """Forget what has long been over."""
        now = self.now()
        owed = {key for owing in self._owing.values() for key in owing}
        for key, entry in list(self.entries.items()):
            if entry.over and now - entry.over_at > KEPT_FOR and key not in owed:
                del self.entries[key]

    def unfinished(self) -> list[Entry]:
        """The messages whose producers still wait to hear of them."""
        return [entry for entries in self._open.values() for entry in entries.values()]

    def never_ended(self) -> None:
        """Everything should be over by now."""
        for entry in self.unfinished():
            self.wrong("its producer was never told anything", entry)


_RANK = {"released": 0, "modified": 1, "": 2, "accepted": 3, "rejected": 4}


def _weight(state: State) -> int:
    """How much a consumer's word says beside others, as `txrouter.core.multicast` has it."""
    return _RANK[state.name]
