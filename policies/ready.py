"""Consumers with credit, of which one is drawn at random: what policies that choose by chance have in common.

Joining, leaving and drawing take the same time however many there are.
"""

from __future__ import annotations

from random import Random

from txrouter.interfaces import IConsumer

__all__ = ["Ready", "Rehearsal"]


class Ready:
    """The consumers with credit; and those that have used theirs up, until they are drawn."""

    __slots__ = ("_chance", "_members", "_places", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._chance = random.random
        self._members: list[IConsumer] = []
        self._places: dict[IConsumer, int] = {}

    def changed(self, consumer: IConsumer) -> None:
        """It is one of them if it has credit."""
        if consumer.credit <= 0:
            self.discard(consumer)
        elif consumer not in self._places:
            self._places[consumer] = len(self._members)
            self._members.append(consumer)

    def discard(self, consumer: IConsumer) -> None:
        """It is none of them."""
        place = self._places.pop(consumer, None)
        if place is not None:
            last = self._members.pop()
            if last is not consumer:
                self._members[place] = last
                self._places[last] = place

    def one(self) -> IConsumer | None:
        """One of them by chance, each as likely as any other; None if there is none."""
        members = self._members
        while members:
            consumer = members[int(self._chance() * len(members))]
            if consumer.credit > 0:
                return consumer
            self.discard(consumer)
        return None

    def another(self, first: IConsumer) -> IConsumer | None:
        """One of the others, each as likely; None if there are none."""
        members = self._members
        while len(members) > 1:
            # of all but the last, and the last stands for `first`
            consumer = members[int(self._chance() * (len(members) - 1))]
            if consumer is first:
                consumer = members[-1]
            if consumer.credit > 0:
                return consumer
            self.discard(consumer)
        return None

    def all(self) -> list[IConsumer]:
        """Them, in no order that means anything."""
        return [consumer for consumer in self._members if consumer.credit > 0]


class Rehearsal(Ready):
    """What would be drawn: a copy that draws the same, and does not use up the other's chance.

    A policy that says whom it is about to choose among selects with it once, in place of its own.
    """

    __slots__ = ("chance", "drawn")

    def __init__(self, ready: Ready) -> None:
        random = Random()
        random.setstate(ready._random.getstate())
        super().__init__(random)
        self._members, self._places = ready._members.copy(), ready._places.copy()
        self.chance = random.random
        self.drawn: dict[IConsumer, None] = {}
        """Who was, in order."""

    def one(self) -> IConsumer | None:
        """As `Ready` has it."""
        return self._note(super().one())

    def another(self, first: IConsumer) -> IConsumer | None:
        """As `Ready` has it."""
        return self._note(super().another(first))

    def _note(self, consumer: IConsumer | None) -> IConsumer | None:
        if consumer is not None:
            self.drawn[consumer] = None
        return consumer

    def candidates(self, chosen: IConsumer | None) -> list[IConsumer]:
        """The one that was chosen in the end, and before the others that were drawn."""
        return [] if chosen is None else [chosen, *(each for each in self.drawn if each is not chosen)]
