"""The keys of `[[capacity]]`, and their checks."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from txrouter.config_checks import Table, problem
from txrouter.core.addresses import pattern_tokens
from txrouter.core.capacity_rules import EVERY, CapacityRule
from txrouter.core.health import JITTER, check_url, field_of
from txrouter.core.signals import capacity_of

__all__ = ["CapacityTable"]

_OF_URLS: Final = ("field", "every", "timeout", "expires")
"""Keys that say how a health address is asked."""


def _name(name: str) -> str:
    if not name:
        raise ValueError("must not be empty")
    return name


def _pattern(pattern: str) -> str:
    pattern_tokens(pattern)
    return pattern


def _capacity(value: float) -> float:
    return capacity_of(value)


def _url(url: str) -> str:
    check_url(url)
    return url


def _client_url(url: str) -> str:
    _url(url)
    if "{container}" in url:
        raise ValueError("{container} is of no use here: a client that says where it is asked says all of it")
    if "?" in url:
        raise ValueError("a client may add what it likes behind it, so it ends with a path")
    return url


def _field(written: str) -> str:
    field_of(written)
    return written


def _for_somebody(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("must not be empty; `*` is any")
    return names


_Name = Annotated[str, AfterValidator(_name)]
_Names = Annotated[tuple[_Name, ...], Field(strict=False), AfterValidator(_for_somebody)]


class CapacityTable(Table):
    """`[[capacity]]`: what is known of some consumers' capacity, or where it is found out."""

    users: _Names = EVERY
    """Whose they are; in these names, and in the next two, `*` is any text."""
    containers: _Names = EVERY
    """The container ids of their connections."""
    links: _Names = EVERY
    """What their clients call the links."""
    addresses: Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(strict=False)] = ()
    """Patterns of the addresses that they receive from; any, if none is said."""
    value: Annotated[float, AfterValidator(_capacity)] | None = None
    """Their capacity, whatever they say."""
    property: _Name | None = None
    """The link property by which they say it."""
    url: Annotated[str, AfterValidator(_url)] | None = None
    """The health address that is asked how they are; `{host}` is where their client is, `{container}` what it is
    called."""
    client_urls: Annotated[tuple[Annotated[str, AfterValidator(_client_url)], ...], Field(strict=False)] = ()
    """Where they may have a health address of their own, by the link property `health-url`: there, or below."""
    field: Annotated[str, AfterValidator(_field)] | None = None
    """Where the answer is in a JSON document."""
    every: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    """Seconds between one answer and the next question."""
    timeout: Annotated[float, Field(ge=0.01, le=60)] = 2.0
    """Seconds that an answer may take."""
    expires: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """Seconds that an answer is good for."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        asks = self.url is not None or self.client_urls
        wrong = []
        if not asks:
            if self.value is None and self.property is None:
                raise ValueError("has none of value, property, url and client_urls")
            wrong = [problem((key,), "is used only with url or client_urls") for key in self._given(_OF_URLS)]
        elif self.expires <= (least := self.every * (1 + JITTER) + self.timeout):
            said = f"must be more than every, a tenth of it, and timeout together ({least:g})"
            wrong = [problem(("expires",), said)]
        if wrong:
            raise ValidationError.from_exception_data("capacity", wrong)
        return self

    def _given(self, keys: tuple[str, ...]) -> list[str]:
        return [key for key in keys if key in self.model_fields_set]

    def rule(self) -> CapacityRule:
        """What it says."""
        return CapacityRule(
            users=self.users,
            containers=self.containers,
            links=self.links,
            addresses=self.addresses,
            value=self.value,
            link_property=self.property,
            url=self.url,
            client_urls=self.client_urls,
            field=() if self.field is None else field_of(self.field),
            every=self.every,
            timeout=self.timeout,
            expires=self.expires,
        )
