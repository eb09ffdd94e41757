"""The keys of `[[access]]`, and their checks; and those by which a table is for some clients and not for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from txrouter.config_checks import Table, problem
from txrouter.core.access import check_pattern
from txrouter.core.users import Group

__all__ = ["AccessRule", "ForClients", "check_listeners"]


def _access_pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


def _user(name: str) -> str:
    if not name:
        raise ValueError("must not be empty")
    return name


_AccessPatterns = Annotated[tuple[Annotated[str, AfterValidator(_access_pattern)], ...], Field(strict=False)]


class ForClients(Table):
    """What is for some clients."""

    users: Annotated[tuple[Annotated[str, AfterValidator(_user)], ...], Field(strict=False)]
    """Names of users; `*` is everybody."""
    listener: Annotated[int, Field(ge=0)] | None = None
    """By which listener they come, counted from 0; any, if not said."""

    @field_validator("users")
    @classmethod
    def _for_somebody(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must not be empty; `*` is everybody")
        return value


def check_listeners(place: tuple[str, ...], groups: Sequence[ForClients | Group], info: ValidationInfo) -> None:
    """See that the config has the listeners by which these come.

    :param place: where they are, below what is being validated.
    :raise ValidationError: it has not.
    """
    count = len(info.data.get("listener", ()))
    wrong = [
        problem((*place, number, "listener"), f"there is no listener[{group.listener}]; they are counted from 0")
        for number, group in enumerate(groups)
        if count and group.listener is not None and group.listener >= count
    ]
    if wrong:
        raise ValidationError.from_exception_data("listener", wrong)


class AccessRule(ForClients):
    """`[[access]]`: what some users may do."""

    send: _AccessPatterns = ()
    """The addresses they may send to."""
    receive: _AccessPatterns = ()
    """The addresses they may receive from."""
    dynamic: bool = False
    """Whether they may have temporary addresses."""
    anonymous_producer: bool = False
    """Whether they may have producers whose messages say where they go."""
    capacity: bool = False
    """Whether their consumers may say what their capacity is."""
    priority: bool = False
    """Whether the priorities of their messages count, and their consumers may say what theirs is."""
    control: bool = False
    """Whether they may not only ask the router, but also change what it does."""
