"""What every test is held to: it leaves nothing behind in the reactor, and no error that it did not expect.

pytest-twisted lets all of this pass; trial would not.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

reactor: Any = installed_reactor

# A shell starts what it puts in the background with Ctrl-C ignored, and so would be what the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A connection that a test has closed is gone within a few turns of the reactor; one still open after this many is left.
_GRACE_TURNS = 20
_GRACE_SECONDS_PER_TURN = 0.005

_DEFERRED = "twisted.internet.defer"


@implementer(ILogObserver)
class LoggedErrors:
    """A log observer that keeps what tells of a failure: `log.failure`, `log.err` and everything critical."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        critical = event.get("log_level") is LogLevel.critical
        # A Deferred announces its failure in an event of its own, which flushing by type would leave behind.
        announcement = critical and event.get("log_namespace") == _DEFERRED
        if _failure_of(event) or (critical and not announcement):
            self.events.append(event)

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Forget the errors logged so far, or only those of the given types, and return their failures."""
        gc.collect()
        flushed: list[Failure] = []
        kept: list[LogEvent] = []
        for event in self.events:
            failure = _failure_of(event)
            if types and not (failure and failure.check(*types)):
                kept.append(event)
            elif failure:
                flushed.append(failure)
        self.events = kept
        return flushed

    def describe(self) -> list[str]:
        return [
            ("lost in a Deferred: " if event.get("log_namespace") == _DEFERRED else "logged: ")
            + eventAsText(event, includeTimestamp=False, includeSystem=False).strip()
            for event in self.events
        ]


def _failure_of(event: LogEvent) -> Failure | None:
    failure = event.get("log_failure", event.get("failure"))  # the latter by the legacy `log.err`
    return failure if isinstance(failure, Failure) else None


def _keep() -> None:
    """Put what is there out of the collector's sight, so that collecting after each test costs little."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    _keep()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What has outlived the last test of a module will stay: reports, and what is kept to be found again."""
    if nextitem is not None and nextitem.path != item.path:
        _keep()


@pytest.fixture(autouse=True)
def _logged_errors() -> Iterator[LoggedErrors]:
    """Fail a test that leaves something in the reactor, loses a failed Deferred, or logs an error it does not flush."""
    errors = LoggedErrors()
    calls_before = reactor.getDelayedCalls()
    selectables_before = _selectables()
    globalLogPublisher.addObserver(errors)
    yield errors
    left = _left_selectables(selectables_before) + _left_calls(calls_before)
    gc.collect()  # a Deferred in a cycle reports its failure only now
    globalLogPublisher.removeObserver(errors)
    left += errors.describe()
    if left:
        pytest.fail("left behind by this test:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def flush_logged_errors(_logged_errors: LoggedErrors) -> Callable[..., list[Failure]]:
    """Acknowledge logged errors: `flush_logged_errors(ValueError)` forgets those, `flush_logged_errors()` forgets all.

    It returns the failures, as trial's `flushLoggedErrors` does.
    """
    return _logged_errors.flush


def _selectables() -> set[Any]:
    """What the reactor reads from or writes to, other than what it wakes itself with."""
    return {*reactor.getReaders(), *reactor.getWriters()}.difference(reactor._internalReaders)


def _left_selectables(before: set[Any]) -> list[str]:
    """Wait for connections to end that are about to; name and close the ones that are not."""
    _turn(0)
    _turn(0)
    for _ in range(_GRACE_TURNS):
        if _selectables() <= before:
            return []
        _turn(_GRACE_SECONDS_PER_TURN)
    left = _selectables() - before
    names = [f"open: {selectable!r}" for selectable in left]
    for selectable in left:
        reactor.removeReader(selectable)
        reactor.removeWriter(selectable)
        selectable.connectionLost(Failure(ConnectionDone()))
    return names


def _left_calls(before: list[Any]) -> list[str]:
    left = [call for call in reactor.getDelayedCalls() if call not in before]
    names = [f"delayed call: {call}" for call in left]
    for call in left:
        call.cancel()
    return names


def _turn(seconds: float) -> None:
    """Let the reactor run for `seconds`, once at the least."""
    pytest_twisted.blockon(deferLater(reactor, seconds))
