"""In what order held deliveries stand: as they came, in an OrderedDict; or by priority, in a `ByPriority`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from txrouter.core.deliveries import Delivery

__all__ = ["NORMAL", "ByPriority", "Shelf", "new_shelf"]

NORMAL = 4
"""The priority of a message that says nothing of it, as AMQP 1.0 has it."""


class ByPriority:
    """Deliveries, those of the highest priority first, which is not to change while they are here; among equals, in the
    order they came. It does what the core needs of an OrderedDict."""

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[Delivery, None]] = {}
        """The highest first; none is empty."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Delivery]:
        for level in self._levels.values():
            yield from level

    def __setitem__(self, delivery: Delivery, _: None) -> None:
        priority = delivery.priority
        if priority not in self._levels:
            self._levels[priority] = OrderedDict()
            self._levels = dict(sorted(self._levels.items(), reverse=True))
        self._levels[priority][delivery] = None
        self._count += 1

    def __delitem__(self, delivery: Delivery) -> None:
        level = self._levels[delivery.priority]
        del level[delivery]
        self._count -= 1
        if not level:
            del self._levels[delivery.priority]

    def move_to_end(self, delivery: Delivery, last: bool = True) -> None:
        """To the end, or the beginning, of those of its priority."""
        self._levels[delivery.priority].move_to_end(delivery, last)


Shelf: TypeAlias = "OrderedDict[Delivery, None] | ByPriority"


def new_shelf(by_priority: bool) -> Shelf:
    """An empty one."""
    return ByPriority() if by_priority else OrderedDict()
