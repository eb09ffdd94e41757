"""In what order held deliveries stand: as they came, in an OrderedDict; or by priority, in a `ByPriority`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from txrouter.core.deliveries import Delivery

__all__ = ["ByPriority", "Shelf", "new_shelf"]

NORMAL = 4
"""The priority of a message that says nothing of it, as AMQP 1.0 has it."""


class ByPriority:
    """Deliveries, those of the highest priority in their header first; among equals, in the order they came. It does
    what the core needs of an OrderedDict."""

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[Delivery, None]] = {}
        """The highest first; none is empty."""
        self._level_of: dict[Delivery, int] = {}

    def __len__(self) -> int:
        return len(self._level_of)

    def __iter__(self) -> Iterator[Delivery]:
        for level in self._levels.values():
            yield from level

    def __setitem__(self, delivery: Delivery, _: None) -> None:
        """:raise Malformed: its priority cannot be read."""
        given = delivery.field("priority")
        priority = given if isinstance(given, int) else NORMAL
        if priority not in self._levels:
            self._levels[priority] = OrderedDict()
            self._levels = dict(sorted(self._levels.items(), reverse=True))
        self._levels[priority][delivery] = None
        self._level_of[delivery] = priority

    def __delitem__(self, delivery: Delivery) -> None:
        priority = self._level_of.pop(delivery)
        level = self._levels[priority]
        del level[delivery]
        if not level:
            del self._levels[priority]

    def move_to_end(self, delivery: Delivery, last: bool = True) -> None:
        """To the end, or the beginning, of those of its priority."""
        self._levels[self._level_of[delivery]].move_to_end(delivery, last)


Shelf: TypeAlias = "OrderedDict[Delivery, None] | ByPriority"


def new_shelf(by_priority: bool) -> Shelf:
    """An empty one."""
    return ByPriority() if by_priority else OrderedDict()
