"""What a policy sees: clients and messages that are plain values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import IConsumer, IDelivery, IProducer

__all__ = ["FakeConsumer", "FakeDelivery", "FakeProducer"]

FIELD = re.compile(
    "durable|priority|ttl|first_acquirer|delivery_count|message_id|user_id|to|subject|reply_to|correlation_id|content_type"
    "|content_encoding|absolute_expiry_time|creation_time|group_id|group_sequence|reply_to_group_id"
)


@implementer(IProducer)
@dataclasses.dataclass(eq=False, slots=True)
class FakeProducer:
    """A client that sends."""

    id: str
    container: str = ""
    properties: Mapping[str, object] = dataclasses.field(default_factory=dict)


@implementer(IConsumer)
@dataclasses.dataclass(eq=False, slots=True)
class FakeConsumer:
    """A client that receives. The numbers are plain attributes; `FakeRouter` changes them as the router does."""

    id: str
    credit: int = 0
    in_flight: int = 0
    container: str = ""
    properties: Mapping[str, object] = dataclasses.field(default_factory=dict)
    capacity: float = 1.0
    cost: int = 0
    waiting: int = 0
    place: Any = None


@implementer(IDelivery)
@dataclasses.dataclass(eq=False, slots=True)
class FakeDelivery:
    """A message. `fields` and `application_properties` are what can be read of it."""

    fields: Mapping[str, object] = dataclasses.field(default_factory=dict)
    application_properties: Mapping[str, object] = dataclasses.field(default_factory=dict)
    presettled: bool = False
    address: str = "test"
    producer: FakeProducer | None = None
    arrived: float = 0.0

    def field(self, name: str) -> object:
        """As IDelivery says.

        :raise KeyError: there is no field of that name in AMQP 1.0.
        """
        if not FIELD.fullmatch(name):
            raise KeyError(name)
        return self.fields.get(name)

    def application_property(self, name: str) -> object:
        """As IDelivery says."""
        return self.application_properties.get(name)
