"""A router as a Twisted service: for `twistd`, for the command line, and for programs with their own application."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from txrouter.amqp.management import Management
from txrouter.amqp.reports import Reports
from txrouter.changes import Change, applied, changes
from txrouter.config import Config, Listener
from txrouter.core.access import Access
from txrouter.core.addresses import CAPACITY_REPORTS
from txrouter.core.router import Router
from txrouter.management.capacity import SetCapacity, ShowCapacity
from txrouter.management.explain import Explain
from txrouter.management.record import Record
from txrouter.management.reload import Reload
from txrouter.net.authentication import Door
from txrouter.net.checkers import PasswordChecker, Threads
from txrouter.net.health import HealthChecks
from txrouter.net.memory import Watch
from txrouter.net.passwords import PasswordFile
from txrouter.net.protocol import RouterFactory, RouterProtocol
from txrouter.net.reports import Reporter
from txrouter.net.services import ListenerService
from txrouter.net.turns import Pacemaker

__all__ = ["RouterService", "tune_gc"]

_log = Logger(namespace="txrouter")

_CHECK_EVERY = 0.05
"""Seconds between looks at whether everything in flight is settled, while the router is being stopped."""
_CLOSE_WITHIN = 3.0
"""Seconds that clients have to answer our close frames."""


class RouterService(Service):
    """A router that listens where its config says.

    `router` is the core: its addresses, consumers and counters may be looked at any time from the reactor's thread.
    `management` is what answers requests at `$management`; see there how to add one.

    :param source: where another config may come from, for `reread`. It raises ConfigError if that is wrong.
    """

    def __init__(self, config: Config, reactor: Any, source: Callable[[], Config] | None = None) -> None:
        self.config = config
        """What counts now."""
        self.source = source
        self._reactor = reactor
        self.router = Router(
            config.router.id,
            config.table(),
            config.limits,
            seed=int.from_bytes(os.urandom(8), "big"),
            report=Reporter(reactor.seconds),
            capacity=config.capacities(),
        )
        self._rules = config.rules()
        self._threads = Threads(reactor)
        self._pacemaker = Pacemaker(self.router, reactor, self._beat)
        self._memory = Watch(self.router, self._pacemaker.later, self._connections)
        self._health = HealthChecks(self.router.capacities, reactor, self._pacemaker.call)
        self.management = self._management()
        self._reports = Reports(self.router, self._pacemaker.turn, self._pacemaker.later, CAPACITY_REPORTS)
        self._listeners = [self._listener(number, each) for number, each in enumerate(config.listener)]

    def _management(self) -> Management:
        later = self._pacemaker.later
        management = Management(self.router, self._pacemaker.turn, later)
        management.operations |= {
            "explain": Explain(self.router, later),
            "record": Record(self.router, later),
            "reload": Reload(self),
            "capacity": ShowCapacity(self.router),
            "set-capacity": SetCapacity(self.router),
        }
        return management

    def _listener(self, number: int, settings: Listener) -> ListenerService:
        turn = self._pacemaker.turn
        access = partial(self._access, number)
        factory = RouterFactory(self.router, turn, f"listener{number}", self._door(settings), access, number)
        return ListenerService(self._reactor, settings.transport, factory, settings.tls)

    def _access(self, number: int, user: str) -> Access | None:
        return self._rules.of(user, listener=number)

    def _door(self, settings: Listener) -> Door:
        checkers: list[Any] = []
        if settings.passwords is not None:
            passwords = PasswordFile(settings.passwords, partial(self._password_file_wrong, settings.passwords))
            checkers.append(PasswordChecker(passwords, self._threads))
        if settings.auth is not None:
            checkers.append(settings.auth)
        return Door(
            settings.offered,
            checkers,
            allow_bare=settings.allow_bare and "ANONYMOUS" in settings.offered,
            plain_without_tls=settings.plain_without_tls,
            external_field=settings.external_field,
        )

    def _password_file_wrong(self, file: str, what: str) -> None:
        self.router.report("password file", {"file": file, "error": what})

    def _beat(self, now: float) -> None:
        for listener in self._listeners:
            listener.beat(now)

    def reload(self, config: Config) -> list[Change]:
        """Do as another config says from now on. Nothing is lost, doubled or interrupted. `Change` says of each thing
        that is different from when on it counts.

        :return: what is different from the config that counted.
        """
        before = self.config
        found = changes(before, config)
        self.config = config = applied(before, config)
        router = self.router
        router.now = self._pacemaker.clock()
        router.limits = config.limits
        self._rules = config.rules()
        router.policies.use(config.table())
        if config.capacity != before.capacity:
            router.capacities.use(config.capacities())
        self._pacemaker.wake()
        for change in found:
            _log.info("reload: {change}", change=str(change))
        if not found:
            _log.info("reload: nothing is different")
        return found

    def reread(self, dry_run: bool = False) -> list[Change]:
        """Take the config anew from where it came, and reload it; or only say what is different.

        :raise ConfigError: it is wrong. Nothing has changed.
        :raise LookupError: it came from nowhere.
        """
        if self.source is None:
            raise LookupError("this router has no config file")
        config = self.source()
        return changes(self.config, config) if dry_run else self.reload(config)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._pacemaker.start()
        self.management.attach()
        self._reports.attach()
        self._memory.start()
        for listener in self._listeners:
            listener.startService()
        self.when_listening().addCallbacks(self._ready, self._cannot_listen)

    def when_listening(self) -> Deferred[list[IListeningPort]]:
        """Fires with the ports when every listener accepts; fails as the first that cannot listen did."""
        ports = gatherResults([listener.when_listening() for listener in self._listeners], consumeErrors=True)
        return ports.addErrback(_first)

    def _ready(self, ports: list[IListeningPort]) -> None:
        accepts = ", ".join(_where(port) for port in ports)
        _log.info("ready: router {id} accepts on {accepts}", id=self.router.id, accepts=accepts)

    def _cannot_listen(self, failure: Failure) -> None:
        _log.failure("router {id} cannot listen", failure, id=self.router.id)

    @inlineCallbacks
    def stopService(self) -> Generator[Deferred[Any], Any, None]:
        """Stop in order: no new links, time for what is in flight to be settled, close frames, and then the end."""
        super().stopService()  # type: ignore[no-untyped-call]
        yield gatherResults([listener.stopService() for listener in self._listeners], consumeErrors=True)
        self._health.stop()
        self.management.detach()
        self._reports.detach()
        self.router.stop()
        self._pacemaker.turn.wake()
        yield self._wait_until(lambda: self.router.in_flight() == 0, self.config.router.stop_timeout)
        left = self.router.in_flight()
        if left:
            _log.warn("{left} deliveries were in flight and not settled in time", left=left)
        for listener in self._listeners:
            listener.factory.close()
        yield self._wait_until(lambda: not self._connections(), _CLOSE_WITHIN)
        for protocol in self._connections():
            protocol.abort()
        yield self._wait_until(lambda: not self._connections(), _CLOSE_WITHIN)
        self._memory.stop()
        self._pacemaker.stop()
        _log.info("stopped: router {id}", id=self.router.id)

    def _connections(self) -> list[RouterProtocol]:
        return [protocol for listener in self._listeners for protocol in listener.factory.protocols]

    @inlineCallbacks
    def _wait_until(self, done: Any, timeout: float) -> Generator[Deferred[Any], Any, None]:
        until = self._reactor.seconds() + timeout
        while not done() and self._reactor.seconds() < until:
            yield deferLater(self._reactor, _CHECK_EVERY)


def _first(failure: Failure) -> Failure:
    error: Any = failure.value  # a FirstError
    found: Failure = error.subFailure
    return found


def _where(port: IListeningPort) -> str:
    address: Any = port.getHost()
    host = getattr(address, "host", None)
    return f"{host}:{address.port}" if host is not None else os.fsdecode(getattr(address, "name", str(address)))


def tune_gc() -> None:
    """Set the garbage collector for a long-running router: what start-up made is there to stay, and what is made for a
    message is freed without it. Affects the whole process: call it where the process is the router's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
