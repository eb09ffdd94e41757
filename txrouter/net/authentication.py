"""Who may come in: between the SASL layer, which hears what a client claims, and `twisted.cred`, which judges it.

A listener has a `Door`: the mechanisms that it offers, and a portal with the checkers that judge them. Every connection
has an `Entry`, which asks the portal about each claim until it is through the door or turned away.

Any credentials checker will do. One that knows `IUsernamePassword` serves PLAIN. SCRAM needs one that knows `IScram`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.cred.checkers import ANONYMOUS, AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.credentials import Anonymous as AnonymousCredentials
from twisted.cred.credentials import IAnonymous, ICredentials, IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, classImplements, implementer

from txrouter.amqp.mechanisms import Anonymous, Certified, Claim, Password, ScramKeys, ScramProof, ScramUser
from txrouter.amqp.sasl import Negotiation
from txrouter.core.users import NOBODY, User
from txrouter.net.external import user_of

__all__ = ["Client", "Door", "Entry", "ICertified", "IScram", "IUser", "served_by"]

_log = Logger(namespace="txrouter")


class IScram(ICredentials):
    """Somebody who can prove to know a password without saying it."""

    username = Attribute("str: who they say they are.")
    mechanism = Attribute("str: `SCRAM-SHA-256` or `SCRAM-SHA-1`.")

    def check(keys: ScramKeys) -> Deferred[bool]:
        """Have them prove that they know the password with these keys; may be called once.

        Of a user who is not there, call it too, with keys that nobody has, and the same for the same name each time:
        or everybody can find out who is there.
        """


class IUser(Interface):
    """The interface of the avatar, a `txrouter.core.users.User`."""


classImplements(User, IUser)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """The mind of a login: what is known of a client besides its name."""

    mechanism: str
    host: str


@implementer(IRealm)
class _Realm:
    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        if IUser not in interfaces:
            raise NotImplementedError("there are users here, and nothing else")
        if avatarId == ANONYMOUS:
            return IUser, User(NOBODY.name, mind.mechanism, mind.host), lambda: None
        # checkers may name users as bytes
        name = avatarId.decode("utf-8", "replace") if isinstance(avatarId, bytes) else str(avatarId)
        if not name:
            raise UnauthorizedLogin("a user without a name")
        return IUser, User(name, mind.mechanism, mind.host), lambda: None


class ICertified(ICredentials):
    """Somebody whose certificate TLS has found to be good, and who they are by it."""

    username = Attribute("str: who they are.")


@implementer(ICredentialsChecker)
class _Certificates:
    credentialInterfaces = (ICertified,)

    def requestAvatarId(self, credentials: Any) -> Any:
        return credentials.username


_SERVES: Final[dict[Any, tuple[str, ...]]] = {
    IScram: ("SCRAM-SHA-256", "SCRAM-SHA-1"),
    ICertified: ("EXTERNAL",),
    IUsernamePassword: ("PLAIN",),
    IAnonymous: ("ANONYMOUS",),
}


def served_by(checker: Any) -> list[str]:
    """The SASL mechanisms that a checker can judge, the best first."""
    known = checker.credentialInterfaces
    return [name for interface, names in _SERVES.items() if interface in known for name in names]


class Door:
    """How to get in by one listener.

    :param checkers: who judges names and passwords.
    :param mechanisms: the SASL mechanisms, most wanted first. PLAIN is offered only under TLS, EXTERNAL only to who has
        shown a certificate.
    :param allow_bare: whether a client may come in as nobody, without SASL.
    :param plain_without_tls: whether PLAIN is offered without TLS too.
    :param external_field: what in a certificate is the user's name: see `txrouter.net.external`.
    :raise ValueError: no checker can judge one of the mechanisms; or there is none, and no other way in.
    """

    def __init__(
        self,
        mechanisms: Sequence[str] = ("ANONYMOUS",),
        checkers: Iterable[Any] = (),
        *,
        allow_bare: bool = True,
        plain_without_tls: bool = False,
        external_field: str = "CN",
    ) -> None:
        all_checkers = [AllowAnonymousAccess(), _Certificates(), *checkers]
        for mechanism in mechanisms:
            if not any(mechanism in served_by(checker) for checker in all_checkers):
                raise ValueError(f"there is no checker for {mechanism}")
        if not mechanisms and not allow_bare:
            raise ValueError("there is no way in")
        self.portal = Portal(_Realm(), all_checkers)
        self.allow_bare = allow_bare
        self.external_field = external_field
        self._mechanisms = tuple(mechanisms)
        self._plain_without_tls = plain_without_tls

    def offer(self, *, tls: bool, certificate: bool) -> list[str]:
        """The mechanisms for a client who comes by TLS or not, with a certificate or not."""
        withheld = set()
        if not tls and not self._plain_without_tls:
            withheld.add("PLAIN")
        if not certificate:
            withheld.add("EXTERNAL")
        return [each for each in self._mechanisms if each not in withheld]


class Client(Protocol):
    """What an entry needs of the connection that it is for."""

    transport: Any

    def write(self, data: memoryview) -> Any:
        """Send this."""

    def let_in(self, user: User, data: bytes) -> None:
        """They are through the door; this is what they have sent of AMQP so far."""

    def turned_away(self, negotiation: Negotiation) -> None:
        """They are not: the negotiation has failed."""


class Entry:
    """The way of one connection through the door."""

    def __init__(self, door: Door, client: Client) -> None:
        self._door = door
        self._client = client
        transport = client.transport
        self._host = str(getattr(transport.getPeer(), "host", ""))
        tls = ISSLTransport.providedBy(transport)
        self._certificate = transport.getPeerCertificate() if tls else None
        mechanisms = door.offer(tls=tls, certificate=self._certificate is not None)
        self._negotiation = Negotiation(mechanisms, door.allow_bare)
        self._user = NOBODY
        self._login: Deferred[Any] | None = None
        self._proof: Deferred[bool] | None = None
        self._reading = True
        self._over = False

    def receive(self, data: bytes) -> None:
        """Go on with what the client sent."""
        negotiation = self._negotiation
        if negotiation.state == "asking":
            # reading is paused, so that this is no more than was in the transport's hands
            negotiation.receive(data)
        elif not self._over:
            self._follow(negotiation.receive(data))

    def give_up(self) -> None:
        """The connection is lost, or is to be."""
        self._over = True
        if self._login is not None:
            self._login.cancel()

    def _follow(self, answer: bytes) -> None:
        """Send the answer, and do what is to be done now."""
        negotiation, client = self._negotiation, self._client
        if answer:
            client.write(memoryview(answer))
        if negotiation.claim is not None:
            self._judge(negotiation.claim)
        elif negotiation.state == "done":
            self._over = True
            client.let_in(self._user, negotiation.remainder)
        elif negotiation.state == "failed":
            self._over = True
            client.turned_away(negotiation)
        self._read(negotiation.state != "asking")

    def _read(self, reading: bool) -> None:
        if reading != self._reading:
            self._reading = reading
            transport = self._client.transport
            if reading:
                transport.resumeProducing()
            else:
                transport.pauseProducing()

    # -- judging -----------------------------------------------------------------------------------

    def _judge(self, claim: Claim) -> None:
        if isinstance(claim, ScramProof):
            # the login of this user goes on: the checker has waited for that
            proof, self._proof = self._proof, None
            if proof is not None:
                proof.callback(claim.right)
            return
        try:
            credentials = self._credentials(claim)
        except ValueError as error:
            self._follow(self._negotiation.reject(str(error)))
            return
        mind = _Arrival(self._negotiation.mechanism, self._host)
        login: Deferred[Any] = self._door.portal.login(credentials, mind, IUser)
        self._login = login
        login.addCallbacks(self._accepted, self._declined, errbackArgs=(claim,))
        login.addErrback(lambda failure: _log.failure("while {user!r} logged in", failure, user=claim.user))

    def _credentials(self, claim: Anonymous | Certified | Password | ScramUser) -> Any:
        """:raise ValueError: the certificate does not say who they are, or that they are another."""
        if isinstance(claim, Anonymous):
            return AnonymousCredentials()
        if isinstance(claim, Password):
            return UsernamePassword(claim.user.encode(), claim.password.encode())
        if isinstance(claim, ScramUser):
            return _Scram(claim.user, claim.mechanism, self._challenge)
        name = user_of(self._certificate, self._door.external_field)
        if claim.user not in ("", name):
            raise ValueError(f"the certificate is of {name!r}")
        return _Certified(name)

    def _challenge(self, keys: ScramKeys) -> Deferred[bool]:
        if self._over or not isinstance(self._negotiation.claim, ScramUser):
            raise RuntimeError("they can prove it once, and before they are let in or turned away")
        proof: Deferred[bool] = Deferred()
        self._proof = proof
        self._follow(self._negotiation.challenge(keys))
        return proof

    def _accepted(self, login: tuple[Any, User, Any]) -> None:
        if self._over:
            return
        negotiation = self._negotiation
        if negotiation.state == "asking" and not isinstance(negotiation.claim, ScramUser):
            _, self._user, _ = login
            self._follow(negotiation.admit())
        else:
            self._follow(negotiation.reject("its checker did not wait for the proof"))

    def _declined(self, failure: Failure, claim: Claim) -> None:
        if self._over:
            return
        if failure.check(LoginFailed):
            self._follow(self._negotiation.reject("there is no such user, or the password is not theirs"))
            return
        why = f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
        if isinstance(claim, Password):
            why = why.replace(claim.password, "…")
        self._follow(self._negotiation.reject(why, temporary=True))


@implementer(IScram)
class _Scram:
    def __init__(self, username: str, mechanism: str, challenge: Callable[[ScramKeys], Deferred[bool]]) -> None:
        self.username = username
        self.mechanism = mechanism
        self._challenge = challenge

    def check(self, keys: ScramKeys) -> Deferred[bool]:
        return self._challenge(keys)


@implementer(ICertified)
class _Certified:
    def __init__(self, username: str) -> None:
        self.username = username
