"""The keys of `[limits]` and `[[limits.client]]`, and their checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from txrouter.config_access import ForClients
from txrouter.config_checks import Table, problem
from txrouter.core.limits import DEFAULTS, ClientLimits, Limits
from txrouter.core.users import EVERYBODY

__all__ = ["ClientLimitsTable", "LimitsTable", "limits_of"]

_OF_THE_ROUTER: Final = ("max_memory",)
"""Limits that are not of clients."""
_OF_LISTENERS: Final = ("max_connections", "handshake_timeout")
"""Limits that matter before it is known who it is."""

_Count = Annotated[int, Field(ge=1, le=1_000_000)]
_CountOrNoLimit = Annotated[int, Field(ge=0, le=1_000_000)]
_Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Keys(Table):
    """The fields of `Limits`, each within bounds that a router can work with."""

    link_capacity: _Count = DEFAULTS.link_capacity
    max_in_flight: _Count = DEFAULTS.max_in_flight
    session_in_flight: _Count = DEFAULTS.session_in_flight
    max_unsettled: _Count = DEFAULTS.max_unsettled
    max_message_size: Annotated[int, Field(ge=0, le=1 << 62)] = DEFAULTS.max_message_size
    max_message_rate: _CountOrNoLimit = DEFAULTS.max_message_rate
    max_held_size: Annotated[int, Field(ge=1, le=1 << 32)] = DEFAULTS.max_held_size
    max_memory: Annotated[int, Field(ge=0, le=1 << 62)] = DEFAULTS.max_memory
    max_connections: _CountOrNoLimit = DEFAULTS.max_connections
    max_connections_per_user: _CountOrNoLimit = DEFAULTS.max_connections_per_user
    max_connections_per_host: _CountOrNoLimit = DEFAULTS.max_connections_per_host
    max_sessions: Annotated[int, Field(ge=1, le=32_768)] = DEFAULTS.max_sessions
    max_links: Annotated[int, Field(ge=1, le=65_536)] = DEFAULTS.max_links
    max_frame_size: Annotated[int, Field(ge=512, le=1 << 20)] = DEFAULTS.max_frame_size
    session_window: Annotated[int, Field(ge=1024, le=1 << 30)] = DEFAULTS.session_window
    connection_window: Annotated[int, Field(ge=1024, le=1 << 40)] = DEFAULTS.connection_window
    handshake_timeout: _Seconds = DEFAULTS.handshake_timeout
    idle_timeout: Annotated[float, Field(ge=0, le=86_400)] = DEFAULTS.idle_timeout
    write_timeout: _Seconds = DEFAULTS.write_timeout

    @field_validator("idle_timeout")
    @classmethod
    def _a_second_or_off(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be 0 (off) or at least 1")
        return value

    def values(self) -> dict[str, Any]:
        """Those that were given, by their names."""
        return {key: getattr(self, key) for key in _Keys.model_fields if key in self.model_fields_set}


class ClientLimitsTable(_Keys, ForClients):
    """`[[limits.client]]`: what limits are for some clients. What it does not name, it says nothing of."""

    @model_validator(mode="after")
    def _makes_sense_of_clients(self) -> Self:
        named = self.values()
        if not named:
            raise ValueError("names no limit")
        wrong = [problem((key,), "is for the router as a whole") for key in _OF_THE_ROUTER if key in named]
        if EVERYBODY not in self.users:
            said = "matters before it is known who it is: it can only be for everybody at a listener, `*`"
            wrong += [problem((key,), said) for key in _OF_LISTENERS if key in named]
        if wrong:
            raise ValidationError.from_exception_data("client", wrong)
        return self


class LimitsTable(_Keys):
    """`[limits]`."""

    client: Annotated[tuple[ClientLimitsTable, ...], Field(strict=False)] = ()

    def limits(self) -> Limits:
        """What it says."""
        clients = [ClientLimits(each.users, each.listener, each.values()) for each in self.client]
        return Limits(**self.values(), client=tuple(clients))

    @model_validator(mode="after")
    def _windows_hold_frames(self) -> Self:
        limits = self.limits()
        _check_window(limits)
        # who has limits of which several tables have one each: whoever is named, and somebody who is not
        clients = [each for each in limits.client if not {"session_window", "max_frame_size"}.isdisjoint(each.limits)]
        wrong = {}
        for listener in {each.listener for each in clients}:
            for user in {user for each in clients for user in each.users}:
                at = -1 if listener is None else listener
                try:
                    _check_window(limits.of(user, at))
                except ValueError as error:
                    first = next(each for each in clients if each.has(user, at))
                    wrong[limits.client.index(first)] = str(error)
        if wrong:
            problems = [problem(("client", number), said) for number, said in sorted(wrong.items())]
            raise ValidationError.from_exception_data("limits", problems)
        return self


def _check_window(limits: Limits) -> None:
    # AMQP counts the window in frames: one that holds none would let nothing through
    if limits.session_window < 2 * limits.max_frame_size:
        raise ValueError(f"session_window must be at least twice max_frame_size ({limits.max_frame_size})")


def limits_of(given: object) -> Limits:
    """The limits that a table says, or those that are given: they are checked alike.

    :raise ValidationError: something is wrong with them.
    """
    return LimitsTable.model_validate(_table(given) if isinstance(given, Limits) else given).limits()


def _table(limits: Limits) -> Mapping[str, object]:
    table = {field.name: getattr(limits, field.name) for field in dataclasses.fields(limits)}
    table["client"] = [{"users": each.users, "listener": each.listener, **each.limits} for each in limits.client]
    return table
