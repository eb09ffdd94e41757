"""The checker of a password file."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredSemaphore, inlineCallbacks
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from txrouter.net.authentication import IScram
from txrouter.net.passwords import PasswordFile, prepared

__all__ = ["PasswordChecker", "Threads"]

Compute = Callable[..., Deferred[bool]]


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Knows users by a password file. Whether there is no such user or the password is wrong, it takes the same steps.

    :param compute: calls a function with arguments, where that takes no time of the reactor's.
    """

    credentialInterfaces = (IScram, IUsernamePassword)

    def __init__(self, passwords: PasswordFile, compute: Compute) -> None:
        self._passwords = passwords
        self._compute = compute

    @inlineCallbacks
    def requestAvatarId(self, credentials: Any) -> Generator[Deferred[bool], bool, bytes | tuple[()]]:
        """:raise UnauthorizedLogin: there is no such user, or the password is wrong."""
        user = credentials.username
        if isinstance(user, bytes):
            user = user.decode("utf-8", "replace")
        secret, known = self._passwords.find(user)
        if IScram.providedBy(credentials):
            right = yield credentials.check(secret.keys[credentials.mechanism])
        else:
            right = yield self._compute(secret.matches, credentials.password.decode("utf-8", "replace"))
        if not (right and known):
            raise UnauthorizedLogin
        return prepared(user).encode()


class Threads:
    """Calls functions in the reactor's threads, a few at a time; who waits for a turn can give up."""

    def __init__(self, reactor: Any, at_a_time: int = 4) -> None:
        self._reactor = reactor
        self._turns = DeferredSemaphore(at_a_time)

    @inlineCallbacks
    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Generator[Deferred[Any], Any, Any]:
        """Fires with what the function returns, or fails as it does."""
        yield self._turns.acquire()
        result: Deferred[Any] = Deferred()
        # a thread cannot be stopped: the turn is over when it is, whoever still wants to know
        work = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)
        work.addBoth(self._end_turn)
        work.chainDeferred(result)
        return (yield result)

    def _end_turn(self, result: Any) -> Any:
        self._turns.release()
        return result
