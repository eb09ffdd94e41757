"""Time that passes when a test says so, for what asks a router to call it later."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.core.fakes import Stage


class Timer:
    """Calls what is to be called later, when the test lets time pass."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._calls: list[tuple[float, Timed]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> Timed:
        timed = Timed(call)
        self._calls.append((self._stage.router.now + seconds, timed))
        return timed

    def passes(self, seconds: float) -> None:
        """Time passes."""
        until = self._stage.router.now + seconds
        while due := sorted((at, number) for number, (at, _) in enumerate(self._calls) if at <= until):
            at, timed = self._calls.pop(due[0][1])
            self._stage.router.now = max(at, self._stage.router.now)
            timed.call()
        self._stage.router.now = until

    @property
    def waits(self) -> bool:
        """Whether anything is to be called."""
        return any(timed.call is not Timed.nothing for _, timed in self._calls)


class Timed:
    """Something that is to be called."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    @staticmethod
    def nothing() -> None:
        """What is called of something that was cancelled."""

    def cancel(self) -> None:
        self.call = Timed.nothing
