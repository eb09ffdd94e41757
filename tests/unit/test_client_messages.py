"""How `txrouter send` makes messages, and how `txrouter receive` shows them."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from proton import Array, Data, Described, Message, decimal32, decimal128, symbol, timestamp

from txrouter.client.messages import MessageMaker, Repeated
from txrouter.client.options import Fields
from txrouter.client.shown import as_bytes, as_json, read


def decoded(data: bytes) -> Message:
    message = Message()
    message.decode(data)
    return message


def shown(message: Message, **options: Any) -> dict[str, Any]:
    """The JSON of a message that has gone over the wire."""
    data = bytes(message.encode())
    line = as_json(decoded(data), address="jobs", size=len(data), settled=False, **options)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


# -- making --------------------------------------------------------------------------------------------------------


def test_bodies_are_made_one_by_one_until_there_are_enough() -> None:
    made = []

    def make(number: int) -> str:
        made.append(number)
        return f"message {number}"

    bodies = Repeated(2, make)
    assert bodies.next() == "message 1"
    assert made == [1]
    assert not bodies.over
    assert bodies.next() == "message 2"
    assert bodies.over
    assert bodies.next() is None


def test_a_message_has_its_number_as_its_id() -> None:
    maker = MessageMaker(Fields())
    assert [decoded(maker.encode(number, "x")).id for number in (1, 2)] == [1, 2]


def test_text_is_an_amqp_string_and_bytes_are_a_data_section() -> None:
    maker = MessageMaker(Fields())
    data, text = (decoded(maker.encode(1, body)) for body in (b"x", "x"))
    assert (text.body, text.inferred) == ("x", False)
    assert (bytes(data.body), data.inferred) == (b"x", True)  # type: ignore[arg-type]


def test_a_message_has_all_fields_that_were_given() -> None:
    fields = Fields(
        durable=True,
        priority=9,
        ttl=1.5,
        id="i",
        user_id="u",
        address="a",
        subject="s",
        reply_to="r",
        correlation_id="c",
        content_type="t",
        group_id="g",
        properties={"p": 1},
    )
    found = shown(decoded(MessageMaker(fields).encode(1, "x")))
    assert found["header"] == {
        "durable": True,
        "priority": 9,
        "ttl": 1.5,
        "first_acquirer": False,
        "delivery_count": 0,
    }
    assert found["properties"] == {
        "message_id": "i",
        "user_id": "u",
        "to": "a",
        "subject": "s",
        "reply_to": "r",
        "correlation_id": "c",
        "content_type": "t",
        "group_id": "g",
    }
    assert found["application_properties"] == {"p": 1}


def test_where_replies_go_can_be_said_later() -> None:
    maker = MessageMaker(Fields())
    maker.reply_to("there")
    assert decoded(maker.encode(1, "x")).reply_to == "there"


# -- showing -------------------------------------------------------------------------------------------------------


def test_the_json_of_a_bare_message_has_everything_but_the_properties_it_has_not() -> None:
    message = Message(body="hé")
    assert shown(message) == {
        "address": "jobs",
        "size": len(message.encode()),
        "settled": False,
        "header": {"durable": False, "priority": 4, "ttl": None, "first_acquirer": False, "delivery_count": 0},
        "delivery_annotations": {},
        "message_annotations": {},
        "properties": {},
        "application_properties": {},
        "body_section": "value",
        "body": "hé",
    }


def test_annotations_and_the_rare_properties_are_shown() -> None:
    message = Message(body="x", id=0, correlation_id=uuid.UUID(int=5), creation_time=3.5, expiry_time=4.5)
    message.group_id, message.group_sequence, message.reply_to_group_id = "g", 7, "h"
    message.content_encoding = "gzip"
    message.instructions = {symbol("x-i"): 1}
    message.annotations = {symbol("x-a"): 2}
    found = shown(message)
    assert found["delivery_annotations"] == {"x-i": 1}
    assert found["message_annotations"] == {"x-a": 2}
    assert found["properties"] == {
        "message_id": 0,
        "correlation_id": "00000000-0000-0000-0000-000000000005",
        "content_encoding": "gzip",
        "absolute_expiry_time": 4.5,
        "creation_time": 3.5,
        "group_id": "g",
        "group_sequence": 7,
        "reply_to_group_id": "h",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (timestamp(5), 5),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ([1, "a", b"\xff"], [1, "a", {"base64": "/w=="}]),
        ({"a": {"b": [b"text"]}, 5: "number"}, {"a": {"b": ["text"]}, "5": "number"}),
        (Described(symbol("d"), 5), {"descriptor": "d", "value": 5}),
        ([Array(None, Data.INT, 1, 2)], [[1, 2]]),
        (decimal32(5), {"decimal32": 5}),
        ([decimal128(bytes(15) + b"a")], [{"decimal128": "AAAAAAAAAAAAAAAAAAAAYQ=="}]),
    ],
)
def test_a_body_of_any_type_is_json(body: Any, expected: object) -> None:
    found = shown(Message(body=body))
    assert found["body"] == expected
    assert found["body_section"] == "value"


def test_a_binary_body_is_text_if_it_is_text_and_base64_otherwise() -> None:
    text, binary = (Message(body=body, inferred=True) for body in (b"text", b"\xff\x00"))
    assert shown(text)["body"] == "text"
    found = shown(binary)
    assert found["body_base64"] == "/wA="
    assert "body" not in found
    assert found["body_section"] == "data"


def test_a_sequence_is_said_to_be_one() -> None:
    found = shown(Message(body=[1, 2], inferred=True))
    assert (found["body_section"], found["body"]) == ("sequence", [1, 2])


def test_the_body_can_be_left_out() -> None:
    assert not {"body", "body_base64", "body_section"} & shown(Message(body="x"), body=False).keys()


@pytest.mark.parametrize(
    ("body", "expected"),
    [("hé", "hé".encode()), (b"\xff\x00", b"\xff\x00"), ({"a": [1]}, b'{"a": [1]}'), (None, b"null")],
)
def test_a_body_alone_is_as_it_was_sent_or_json(body: Any, expected: bytes) -> None:
    assert as_bytes(decoded(bytes(Message(body=body).encode())), terminal=False) == expected


def test_a_body_does_not_get_at_the_terminal_it_is_shown_on() -> None:
    assert as_bytes(Message(body="a\x1b[31mé\n\tb\x07"), terminal=True) == "a\\x1b[31mé\n\tb\\x07".encode()
    assert as_bytes(Message(body=b"\xff\x1bx"), terminal=True) == b"\\xff\\x1bx"
    assert as_bytes(Message(body={"a": "\x7f\u202e"}), terminal=True) == b'{"a": "\\x7f\\u202e"}'


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0Ss\xc0\x0a\7@@@@@@\xa3\1\xc1\0Sw@", id="a content type that is not in UTF-8"),
        pytest.param(b"\0St\xc1\x08\2\0\xa1\1d\xa1\1v@\0Sw@", id="a property whose name is a described value"),
        pytest.param(b"\0Sw\xa1\1\xff", id="a body that is not in UTF-8"),
    ],
)
def test_what_cannot_be_decoded_is_found_when_it_is_read(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(data)
