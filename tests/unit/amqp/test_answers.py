"""What the router says itself, against proton's decoder."""

from __future__ import annotations

import uuid
from typing import Any

import proton
import pytest

from txrouter.amqp.answers import encode


def decoded(data: bytes) -> proton.Message:
    message = proton.Message()
    message.decode(data)
    return message


def test_an_answer_is_a_text_that_is_json() -> None:
    message = decoded(encode(None, {}, '{"a": "ä"}'))
    assert (message.body, message.content_type) == ('{"a": "ä"}', "application/json")


def test_its_properties_are_texts_and_numbers() -> None:
    properties: dict[str, str | int] = {"statusCode": 200, "statusDescription": "", "least": -(2**31)}
    assert decoded(encode(None, properties, "")).properties == properties


@pytest.mark.parametrize("id", [None, "", "ä", "x" * 300, 0, 2**64 - 1, uuid.UUID(int=7)], ids=repr)
def test_an_id_comes_back_as_it_was(id: Any) -> None:
    assert decoded(encode(id, {}, "")).correlation_id == id


def test_an_id_of_bytes_comes_back_as_it_was() -> None:
    message: Any = decoded(encode(b"\x00\xff", {}, ""))
    assert bytes(message.correlation_id) == b"\x00\xff"


@pytest.mark.parametrize("id", [-1, 2**64, 0.5, ()], ids=repr)
def test_what_is_no_id_is_none(id: object) -> None:
    assert decoded(encode(id, {}, "")).correlation_id is None


def test_what_is_no_text_is_replaced() -> None:
    assert decoded(encode(None, {}, "a\ud800")).body == "a?"
