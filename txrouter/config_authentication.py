"""What a listener's config says of who may come in, and the checks of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ValidationError

from txrouter.config_checks import problem

if TYPE_CHECKING:
    from txrouter.config import Listener

__all__ = ["Auth", "CertificateField", "Mechanisms", "Passwords", "check", "mechanisms_of"]

_Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "PLAIN", "ANONYMOUS"]

CertificateField = Literal["CN", "subject", "SAN:dns", "SAN:email", "SAN:uri"]
"""What of a certificate is the user's name: `txrouter.net.external.FIELDS`."""


def _mechanisms(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given:
        raise ValueError("must not be empty")
    wrong = [(number,) for number, each in enumerate(given) if each in given[:number]]
    if wrong:
        raise ValidationError.from_exception_data("mechanisms", [problem(place, "is there twice") for place in wrong])
    return given


def _passwords(path: str) -> str:
    from txrouter.net.passwords import check

    check(path)
    return path


def _auth(given: object) -> object:
    """The checker that a string of `twisted.cred.strcred` names.

    :raise ValueError: it names none that is of use. Nothing of the string is said: secrets may be in it.
    """
    from twisted.cred.checkers import ICredentialsChecker

    from txrouter.net.authentication import served_by

    checker = given if ICredentialsChecker.providedBy(given) else _named_checker(given)
    if not served_by(checker):
        raise ValueError("names a checker that knows nothing of passwords or certificates as they come here")
    return checker


def _named_checker(given: object) -> Any:
    from twisted.cred.strcred import InvalidAuthArgumentString, InvalidAuthType, findCheckerFactories, makeChecker

    if not isinstance(given, str):
        raise ValueError("must be a string")
    text = given
    if given.startswith("env:"):
        name = given.removeprefix("env:")
        text = os.environ.get(name, "")
        if not text:
            raise ValueError(f"there is no {name!r} in the environment")
    kind = text.partition(":")[0]
    try:
        return makeChecker(text)
    except InvalidAuthType:
        known = ", ".join(sorted({each.authType for each in findCheckerFactories()}))
        raise ValueError(f"there is no kind of checker {kind[:40]!r}; there are: {known}") from None
    except InvalidAuthArgumentString:
        raise ValueError(f"what is behind `{kind}:` is not what such a checker takes") from None
    except Exception as error:
        raise ValueError(f"the checker {kind!r} cannot be made: {type(error).__name__}") from None


Mechanisms = Annotated[tuple[_Mechanism, ...], AfterValidator(_mechanisms)]
"""SASL mechanisms, most wanted first."""
Passwords = Annotated[str, AfterValidator(_passwords)]
"""The path of a password file that can be read."""
Auth = Annotated[Any, BeforeValidator(_auth)]
"""A string that names a checker as `twisted.cred.strcred` does, or `env:` and where in the environment that string is;
or a checker. It becomes a checker."""


def mechanisms_of(listener: Listener) -> tuple[str, ...]:
    """The mechanisms of a listener: those that it names, or all that its checker can judge there, or ANONYMOUS."""
    if listener.mechanisms is not None:
        return listener.mechanisms
    judged = _judged(listener)
    return tuple(each for each in judged if _hindrance(listener, each) is None) if judged else ("ANONYMOUS",)


def check(listener: Listener) -> None:
    """See that the keys of a listener make sense together.

    :raise ValidationError: with every key that does not.
    """
    wrong = []
    if listener.passwords is not None and listener.auth is not None:
        wrong.append(problem(("auth",), "a listener has `passwords` or `auth`, one of the two"))
    for number, mechanism in enumerate(listener.mechanisms or ()):
        hindrance = _hindrance(listener, mechanism)
        if hindrance is not None:
            wrong.append(problem(("mechanisms", number), f"{mechanism} {hindrance}"))
    judged = _judged(listener)
    if judged and not wrong and not set(mechanisms_of(listener)) & set(judged):
        if listener.mechanisms is None:
            wrong.append(problem(("auth",), f"it serves {judged[0]}, which {_hindrance(listener, judged[0])}"))
        else:
            wrong.append(problem(("mechanisms",), "none of them needs what `passwords` or `auth` knows"))
    if listener.allow_bare and "allow_bare" in listener.model_fields_set and "ANONYMOUS" not in mechanisms_of(listener):
        wrong.append(problem(("allow_bare",), "who comes without SASL is anonymous, and ANONYMOUS is not offered"))
    if wrong:
        raise ValidationError.from_exception_data("listener", wrong)


def _judged(listener: Listener) -> list[str]:
    """The mechanisms that the listener's own checker can judge."""
    if listener.passwords is not None:
        return ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]
    if listener.auth is not None:
        from txrouter.net.authentication import served_by

        return served_by(listener.auth)
    return []


def _hindrance(listener: Listener, mechanism: str) -> str | None:
    """Why a mechanism cannot be offered; None if it can."""
    if mechanism == "EXTERNAL":
        if not _may_have_tls(listener):
            return "needs clients' certificates, and this listener has no TLS"
        if listener.tls is not None and not listener.client_ca:
            return "needs clients' certificates: `client_ca` says whose are asked for"
        return None
    if mechanism == "PLAIN" and not listener.plain_without_tls and not _may_have_tls(listener):
        return "shows passwords to the network, and this listener has no TLS; `plain_without_tls = true` permits it"
    if mechanism != "ANONYMOUS" and mechanism not in _judged(listener):
        if listener.auth is not None:
            return "is unknown to the checker that `auth` names"
        return "needs `passwords`" + (" or `auth`" if mechanism == "PLAIN" else "")
    return None


def _may_have_tls(listener: Listener) -> bool:
    """Whether it has, as far as we know: there are kinds of endpoints that are not Twisted's."""
    kind = listener.transport.removeprefix("haproxy:").partition(":")[0]
    return listener.tls is not None or kind not in ("tcp", "tcp6", "unix", "systemd")
