"""Answers to requests: each goes to where its request says, by one link that serves every address."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import proton

from txrouter.client.options import ReceiveOptions
from txrouter.client.report import Report

__all__ = ["Answers"]


class Answers:
    """What `txrouter receive --echo` and `--reply` answer.

    :param report: where those that were accepted are counted.
    :param say: prints a line for people.
    """

    def __init__(self, options: ReceiveOptions, report: Report, say: Callable[[str], None]) -> None:
        self._text = options.reply
        self._report = report
        self._say = say
        self._link: Any = None
        self._due: deque[bytes] = deque()
        self._count = 0
        report.replies = 0

    def attach(self, connection: Any) -> None:
        """Attach the link: one without an address, so that each answer may go anywhere."""
        self._link = connection.sender(None)

    @property
    def waiting(self) -> bool:
        """Whether answers wait for credit, or for an outcome."""
        return bool(self._due or self._link.unsettled)

    def add(self, request: proton.Message) -> None:
        """Answer a request, if it wants to be answered."""
        if not request.reply_to:
            self._say("a message without reply-to is not answered")
            return
        answer = proton.Message(body=request.body if self._text is None else self._text)
        answer.inferred = request.inferred and self._text is None
        answer.address = request.reply_to
        answer.correlation_id = request.id if request.correlation_id is None else request.correlation_id
        self._due.append(answer.encode())

    def send(self) -> None:
        """Send the answers that there is credit for."""
        link = self._link
        while self._due and link is not None and link.credit > 0:
            self._count += 1
            link.delivery(str(self._count))
            link.stream(self._due.popleft())
            link.advance()
        if link is not None and link.drain_mode:
            link.drained()

    def settled(self, delivery: Any) -> None:
        """News of an answer that was sent."""
        if delivery.updated and delivery.settled:
            if delivery.remote_state == proton.Delivery.ACCEPTED:
                self._report.replies = (self._report.replies or 0) + 1
            else:
                self._say(f"an answer was not accepted but {getattr(delivery.remote_state, 'name', 'lost').lower()}")
            delivery.settle()
