"""The skip-parser, against proton's encoder, hand-made encodings, and bytes that are no message at all."""

from __future__ import annotations

import struct
import time
import uuid
from typing import Any

import proton
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txrouter.amqp.sections import FIELDS, MAX_NESTING, Short, application_property, field
from txrouter.core.deliveries import Malformed

# a busy machine is no failure
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TO = FIELDS["to"][1]
BODY = b"\x00\x53\x77\xa1\x02hi"
NULLS = b"\x40" * TO


def section(code: int, value: bytes) -> bytes:
    return bytes((0x00, 0x53, code)) + value


def list8(count: int, items: bytes) -> bytes:
    return bytes((0xC0, len(items) + 1, count)) + items


def list32(count: int, items: bytes) -> bytes:
    return b"\xd0" + struct.pack(">II", len(items) + 4, count) + items


def map8(*items: bytes) -> bytes:
    return bytes((0xC1, len(b"".join(items)) + 1, len(items))) + b"".join(items)


def map32(*items: bytes) -> bytes:
    return b"\xd1" + struct.pack(">II", len(b"".join(items)) + 4, len(items)) + b"".join(items)


def str8(text: str) -> bytes:
    return b"\xa1" + bytes((len(text.encode()),)) + text.encode()


def properties(**encoded: bytes) -> bytes:
    """A whole message whose properties section has these fields, encoded already."""
    return section(0x73, _fields(0x73, encoded)) + BODY


def header(**encoded: bytes) -> bytes:
    return section(0x70, _fields(0x70, encoded)) + BODY


def _fields(code: int, encoded: dict[str, bytes]) -> bytes:
    names = [name for name, (home, _) in FIELDS.items() if home == code]
    return list32(len(names), b"".join(encoded.get(name, b"\x40") for name in names))


def entry(value: bytes) -> bytes:
    """A whole message with one application property, `key`."""
    return section(0x74, map8(str8("key"), value)) + BODY


# -- proton's messages -----------------------------------------------------------------------------

# proton takes texts as C strings
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)
ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300)
UINTS = st.integers(0, 2**32 - 1)
SECONDS = st.integers(0, 2**32)
IDS = st.one_of(st.integers(0, 2**64 - 1).map(proton.ulong), st.uuids(), TEXTS, st.binary(max_size=300))

PROTON_FIELDS = {
    "durable": ("durable", st.booleans()),
    "priority": ("priority", st.integers(0, 255)),
    "ttl": ("ttl", st.integers(0, 2**32 // 1000 - 1)),
    "first_acquirer": ("first_acquirer", st.booleans()),
    "delivery_count": ("delivery_count", UINTS),
    "message_id": ("id", IDS),
    "user_id": ("user_id", st.binary(max_size=300)),
    "to": ("address", TEXTS),
    "subject": ("subject", TEXTS),
    "reply_to": ("reply_to", TEXTS),
    "correlation_id": ("correlation_id", IDS),
    "content_type": ("content_type", ASCII),
    "content_encoding": ("content_encoding", ASCII),
    "absolute_expiry_time": ("expiry_time", SECONDS),
    "creation_time": ("creation_time", SECONDS),
    "group_id": ("group_id", TEXTS),
    "group_sequence": ("group_sequence", UINTS.map(lambda number: number % 2**31)),
    "reply_to_group_id": ("reply_to_group_id", TEXTS),
}
DEFAULTS = {"priority": 4}
IN_MILLISECONDS = ("ttl", "absolute_expiry_time", "creation_time")

VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXTS, st.binary(max_size=300), st.uuids(), st.floats(width=64)
)
MAPS = st.dictionaries(TEXTS, VALUES, max_size=6)
ANNOTATIONS = st.dictionaries(ASCII.map(proton.symbol), VALUES | st.lists(st.integers(0, 9)), max_size=4)


Made = tuple[bytes, dict[str, Any], dict[str, Any]]


@st.composite
def messages(draw: st.DrawFn) -> Made:
    """A message as proton encodes it, its fields as they were given, and its application properties."""
    fields: dict[str, Any] = draw(
        st.fixed_dictionaries({}, optional={name: values for name, (_, values) in PROTON_FIELDS.items()})
    )
    application_properties = draw(MAPS)
    message = proton.Message(
        **{PROTON_FIELDS[name][0]: value for name, value in fields.items()},
        instructions=draw(st.none() | ANNOTATIONS),
        annotations=draw(st.none() | ANNOTATIONS),
        properties=application_properties,
        body=draw(st.none() | st.binary(max_size=300) | TEXTS),
    )
    expected = {name: value * 1000 if name in IN_MILLISECONDS else value for name, value in fields.items()}
    return bytes(message.encode()), expected, application_properties


@unhurried
@given(messages())
def test_every_field_of_a_proton_message_is_found(made: Made) -> None:
    data, expected, _ = made
    for name in FIELDS:
        found = field(data, name, True)
        if found is None:
            # proton leaves out what is at its default
            assert expected.get(name, DEFAULTS.get(name)) in (None, False, 0, "", b"", DEFAULTS.get(name))
        elif name in expected:
            assert found == expected[name]
            assert isinstance(expected[name], type(found))
        else:
            assert found in (False, 0, 4)


@unhurried
@given(messages())
def test_every_application_property_of_a_proton_message_is_found(
    made: Made,
) -> None:
    data, _, expected = made
    for name, value in expected.items():
        found = application_property(data, name, True)
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            assert found is None
        else:
            assert found == value
            assert type(found) is type(value)
    assert application_property(data, "\ud800", True) is None


@unhurried
@given(messages(), st.sampled_from(sorted(FIELDS)))
def test_of_a_part_of_a_message_a_field_is_short_or_right(made: Made, name: str) -> None:
    data = made[0]
    whole = field(data, name, True)
    for length in range(len(data)):
        try:
            assert field(data[:length], name, False) == whole
        except Short:
            pass
        else:
            break
    for longer in range(length, len(data)):
        assert field(data[:longer], name, False) == whole


@unhurried
@given(messages(), st.data())
def test_of_a_part_of_a_message_an_application_property_is_short_or_right(made: Made, data: st.DataObject) -> None:
    message, _, expected = made
    name = data.draw(st.sampled_from([*expected, "no such name"]))
    whole = application_property(message, name, True)
    for length in range(len(message)):
        try:
            found = application_property(message[:length], name, False)
        except Short:
            continue
        assert found == whole


@unhurried
@given(messages(), st.data())
def test_a_message_that_ends_early_is_malformed_or_read_right(made: Made, data: st.DataObject) -> None:
    whole = made[0]
    part = whole[: data.draw(st.integers(0, len(whole)))]
    for name in FIELDS:
        try:
            found = field(part, name, True)
        except Malformed:
            continue
        # cut between two sections, it looks as if the later ones were never there
        assert found in (None, field(whole, name, True))


# -- anything at all -------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *(bytes((byte,)) for byte in b"\x00\x40\x45\x53\x70\x73\x74\xa1\xb1\xc0\xc1\xd0\xd1\xe0\xf0"),
        b"\x00\x53",
        b"\xa1\x03key",
        b"\xff\xff\xff\xff",
        b"\x00\x80\0\0\0\0\0\0\0\x73",
        b"\x00\xa3\x10amqp:header:list",
    ]
)


@st.composite
def near_messages(draw: st.DrawFn) -> bytes:
    """A message with some bytes changed, left out or put in."""
    data = bytearray(draw(messages())[0])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3) | FRAGMENTS)
    return bytes(data)


ANYTHING = st.one_of(
    st.binary(max_size=200), st.lists(FRAGMENTS | st.binary(max_size=3), max_size=20).map(b"".join), near_messages()
)


def answer(data: bytes, name: str, complete: bool) -> object:
    """What comes out, with the errors that are allowed as values."""
    try:
        return field(data, name, complete) if name in FIELDS else application_property(data, name, complete)
    except Short:
        return Short
    except Malformed:
        return Malformed


@unhurried
@given(ANYTHING)
def test_whatever_the_bytes_are_they_are_short_or_malformed_or_read(data: bytes) -> None:
    for name in [*FIELDS, "key"]:
        for complete in (True, False):
            found = answer(data, name, complete)
            if isinstance(found, type):
                assert found is Malformed or not complete
            else:
                assert found is None or isinstance(found, (str, int, float, bytes, uuid.UUID))


@unhurried
@given(ANYTHING, st.data())
def test_what_is_known_of_a_part_does_not_change_with_the_rest(whole: bytes, data: st.DataObject) -> None:
    part = whole[: data.draw(st.integers(0, len(whole)))]
    for name in [*FIELDS, "key"]:
        known = answer(part, name, False)
        assert known is Short or known == answer(whole, name, False)


@pytest.mark.parametrize(
    "data",
    [
        bytes(1 << 16),
        b"\x00\x53" * (1 << 15),
        section(0x70, b"\x40") * (1 << 14),
        section(0x72, b"\x00" * (1 << 16)),
        section(0x73, b"\xd0\xff\xff\xff\xff\xff\xff\xff\xf0" + b"\x40" * (1 << 16)),
        section(0x74, b"\xd1\xff\xff\xff\xff\xff\xff\xff\xf0" + b"\x40" * (1 << 16)),
        section(0x74, b"\xd1\xff\xff\xff\xff\x00\xff\xff\xfe" + b"\xa1\x00" * (1 << 15)),
        section(0x74, map32(*[str8(""), b"\x40"] * (1 << 14))) + BODY,
    ],
    ids=["zeros", "descriptors", "headers", "nesting", "huge list", "huge map", "empty names", "many entries"],
)
def test_hostile_64_kib_are_done_with_at_once(data: bytes) -> None:
    began = time.process_time()
    for name in ("ttl", "reply_to_group_id", "key"):
        answer(data, name, False)
        answer(data, name, True)
    assert time.process_time() - began < 1


# -- each encoding ---------------------------------------------------------------------------------

UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    ("name", "encoded", "value"),
    [
        ("durable", b"\x41", True),
        ("durable", b"\x42", False),
        ("durable", b"\x56\x01", True),
        ("first_acquirer", b"\x56\x00", False),
        ("priority", b"\x50\x09", 9),
        ("ttl", b"\x43", 0),
        ("ttl", b"\x52\xff", 255),
        ("ttl", b"\x70\xff\xff\xff\xff", 2**32 - 1),
        ("delivery_count", b"\x70\x00\x00\x01\x00", 256),
        ("delivery_count", b"\x60\x01\x00", 256),
        ("delivery_count", b"\x40", None),
        ("message_id", b"\x44", 0),
        ("message_id", b"\x53\x07", 7),
        ("message_id", b"\x80" + b"\xff" * 8, 2**64 - 1),
        ("message_id", b"\x98" + UUID.bytes, UUID),
        ("message_id", b"\xa0\x02\x00\xff", b"\x00\xff"),
        ("message_id", b"\xb0\x00\x00\x00\x01\xff", b"\xff"),
        ("correlation_id", b"\xa1\x02id", "id"),
        ("correlation_id", b"\xb1\x00\x00\x00\x02id", "id"),
        ("user_id", b"\xa0\x00", b""),
        ("user_id", b"\xb0\x00\x00\x00\x02\x01\x02", b"\x01\x02"),
        ("to", b"\xa1\x02\xc3\xbc", "ü"),
        ("to", b"\xa1\x00", ""),
        ("to", b"\xb1\x00\x00\x00\x03a/b", "a/b"),
        ("to", b"\x40", None),
        ("content_type", b"\xa3\x03a/b", "a/b"),
        ("content_encoding", b"\xb3\x00\x00\x00\x04gzip", "gzip"),
        ("content_type", b"\xa1\x03a/b", "a/b"),
        ("creation_time", b"\x83\x00\x00\x00\x00\x00\x00\x01\x00", 256),
        ("absolute_expiry_time", b"\x83" + b"\xff" * 8, -1),
        ("group_sequence", b"\x52\x05", 5),
    ],
)
def test_each_encoding_of_a_field(name: str, encoded: bytes, value: object) -> None:
    data = header(**{name: encoded}) if FIELDS[name][0] == 0x70 else properties(**{name: encoded})
    found = field(data, name, True)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\x40", None),
        (b"\x41", True),
        (b"\x42", False),
        (b"\x50\xff", 255),
        (b"\x51\xff", -1),
        (b"\x60\xff\xff", 2**16 - 1),
        (b"\x61\xff\xfe", -2),
        (b"\x70\xff\xff\xff\xff", 2**32 - 1),
        (b"\x71\xff\xff\xff\xff", -1),
        (b"\x54\x80", -128),
        (b"\x55\x7f", 127),
        (b"\x81" + b"\xff" * 8, -1),
        (b"\x83" + b"\x00" * 7 + b"\x05", 5),
        (b"\x72\x3f\xc0\x00\x00", 1.5),
        (b"\x82\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5),
        (b"\x72\x7f\xc0\x00\x00", None),
        (b"\x82\x7f\xf0\x00\x00\x00\x00\x00\x00", None),
        (b"\x73\x00\x01\xf6\x00", "\U0001f600"),
        (b"\x98" + UUID.bytes, UUID),
        (b"\xa0\x01\x00", b"\x00"),
        (b"\xa1\x01a", "a"),
        (b"\xa3\x01a", "a"),
        (b"\x74\x00\x00\x00\x00", None),
        (b"\x84" + b"\x00" * 8, None),
        (b"\x94" + b"\x00" * 16, None),
        (list8(1, b"\x41"), None),
        (list32(1, b"\x41"), None),
        (b"\x45", None),
        (map8(b"\x41", b"\x42"), None),
        (b"\xe0\x03\x01\x50\x07", None),
        (b"\xf0\x00\x00\x00\x06\x00\x00\x00\x01\x50\x07", None),
        (b"\x00\xa3\x01x\x41", None),
    ],
)
def test_each_encoding_of_an_application_property(encoded: bytes, value: object) -> None:
    found = application_property(entry(encoded), "key", True)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "stepped_over",
    [
        b"\x40",
        b"\x43",
        b"\x50\x01",
        b"\x60\x01\x02",
        b"\x70\x01\x02\x03\x04",
        b"\x80" + b"\x01" * 8,
        b"\x94" + b"\x01" * 16,
        b"\xa0\x03abc",
        b"\xb0\x00\x00\x00\x03abc",
        b"\x45",
        list8(2, b"\x41\x42"),
        list32(2, b"\x41\x42"),
        map8(b"\x41", b"\x42"),
        map32(b"\x41", b"\x42"),
        b"\xe0\x03\x01\x50\x07",
        b"\xf0\x00\x00\x00\x06\x00\x00\x00\x01\x50\x07",
        b"\x00\x53\x01\x41",
        b"\x00\x00\x53\x01\x53\x02\xa1\x01a",
        b"\x00" * MAX_NESTING + b"\x40" * (MAX_NESTING + 1),
    ],
    ids=bytes.hex,
)
def test_what_is_not_wanted_is_stepped_over(stepped_over: bytes) -> None:
    assert field(properties(message_id=stepped_over, to=str8("x")), "to", True) == "x"
    assert field(section(0x72, stepped_over) + properties(to=str8("x")), "to", True) == "x"
    data = section(0x74, map8(stepped_over, b"\x41", str8("a"), stepped_over, str8("key"), b"\x42")) + BODY
    assert application_property(data, "key", True) is False


@pytest.mark.parametrize("to_list", [list8, list32])
@pytest.mark.parametrize(
    "descriptor", [b"\x00\x53\x73", b"\x00\x80\x00\x00\x00\x00\x00\x00\x00\x73", b"\x00\xa3\x14amqp:properties:list"]
)
def test_sections_have_descriptors_and_lists_of_any_width(descriptor: bytes, to_list: Any) -> None:
    value = to_list(TO + 1, NULLS + str8("x"))
    assert field(descriptor + value + BODY, "to", True) == "x"
    assert field(b"\x00\xb3\x00\x00\x00\x10amqp:header:list\x45" + descriptor + value, "to", True) == "x"


@pytest.mark.parametrize("to_map", [map8, map32])
def test_application_properties_have_maps_and_names_of_any_width(to_map: Any) -> None:
    data = section(0x74, to_map(b"\xb1\x00\x00\x00\x01a", b"\x41", b"\xa3\x01b", b"\x50\x02", str8("a"), b"\x42"))
    assert application_property(data, "a", True) is True
    assert application_property(data, "b", True) == 2
    assert application_property(data, "c", True) is None


# -- what is not there -----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [BODY, section(0x75, b"\xa0\x00"), section(0x76, b"\x45"), section(0x78, map8())])
def test_the_body_ends_the_search(data: bytes) -> None:
    # what follows would be malformed if it were looked at
    assert answer(data + b"\xff", "ttl", False) is None
    assert answer(data + b"\xff", "to", True) is None
    assert answer(data + b"\xff", "key", True) is None


def test_a_later_section_tells_that_one_is_not_there() -> None:
    assert field(b"\x00\x53\x73", "ttl", False) is None
    assert field(b"\x00\x53\x71", "durable", False) is None
    assert application_property(section(0x73, b"\x45") + b"\x00\x53\x75", "key", False) is None


def test_an_empty_or_short_list_has_no_field() -> None:
    assert field(section(0x70, b"\x45") + BODY, "durable", True) is None
    assert field(section(0x70, list8(0, b"")), "durable", True) is None
    assert field(section(0x70, list32(0, b"")), "durable", True) is None
    assert field(section(0x73, list8(TO, NULLS)), "to", True) is None


def test_without_data_a_field_is_short_until_the_message_is_complete() -> None:
    with pytest.raises(Short):
        field(b"", "to", False)
    assert field(b"", "to", True) is None


def test_a_field_is_known_before_its_section_has_come_whole() -> None:
    data = properties(to=str8("x"), subject=str8("a longer text"))
    end_of_to = data.index(str8("x")) + 3
    assert field(data[:end_of_to], "to", False) == "x"
    with pytest.raises(Short):
        field(data[: end_of_to - 1], "to", False)
    with pytest.raises(Malformed):
        field(data[:end_of_to], "to", True)


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        field(BODY, "address", True)


# -- what is broken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("to", b"GET / HTTP/1.1", "no section|descriptor is missing"),
        ("to", b"\x00\xa1\x01x\x45", "descriptor is unknown"),
        ("to", b"\x00\xa3\x01x\x45", "descriptor is unknown"),
        ("to", section(0x12, b"\x45"), "0x12 is unknown"),
        ("to", section(0x79, b"\x45"), "0x79"),
        ("to", b"\x00\x80\x00\x00\x00\x01\x00\x00\x00\x73\x45", "0x100000073"),
        ("to", section(0x72, map8()) + section(0x70, b"\x45"), "out of order"),
        ("to", section(0x70, b"\x45") * 2, "out of order"),
        ("ttl", section(0x70, map8()), "wrong type, 0xc1"),
        ("ttl", section(0x70, b"\x40"), "wrong type, 0x40"),
        ("key", section(0x74, b"\x45"), "wrong type, 0x45"),
        ("key", section(0x74, list8(0, b"")), "wrong type, 0xc0"),
        ("to", section(0x70, b"\x3f") + BODY, "no type 0x3f"),
        ("to", section(0x72, b"\xf1\x00\x00\x00\x00") + BODY, "no type 0xf1"),
        ("to", properties(message_id=b"\x46", to=str8("x")), "no type 0x46"),
        ("to", properties(to=b"\x50\x01"), "field to is of the wrong type, 0x50"),
        ("to", properties(to=list8(0, b"")), "field to is of the wrong type, 0xc0"),
        ("to", properties(to=b"\x00\x53\x01\xa1\x01x"), "field to is of the wrong type, 0x00"),
        ("ttl", header(ttl=str8("1")), "field ttl is of the wrong type, 0xa1"),
        ("ttl", header(ttl=b"\x71\xff\xff\xff\xff"), "field ttl is of the wrong type, 0x71"),
        ("ttl", header(ttl=b"\x41"), "field ttl is of the wrong type, 0x41"),
        ("to", properties(to=b"\xa1\x01\xff"), "not in Unicode"),
        ("to", properties(to=b"\xb1\x00\x00\x00\x01\xff"), "not in Unicode"),
        ("key", entry(b"\x73\x00\x00\xd8\x00"), "not in Unicode"),
        ("key", entry(b"\x73\x00\x11\x00\x00"), "not in Unicode"),
        ("key", section(0x74, map8(b"\xa1\x01\xff", b"\x40")), "not in Unicode"),
        ("durable", section(0x70, b"\xc0\x00\x00") + BODY, "more items"),
        ("durable", section(0x70, b"\xd0\x00\x00\x00\x03\x00\x00\x00\x00") + BODY, "more items"),
        ("durable", section(0x70, list8(2, b"\x41")) + BODY, "more items"),
        ("durable", section(0x70, list32(2**32 - 1, b"\x41")) + BODY, "more items"),
        ("ttl", section(0x70, list8(3, b"\x50\x40\x40")) + BODY, "more items"),
        ("ttl", section(0x70, list8(3, b"\x40\x50\x40")) + BODY, "more items"),
        ("ttl", section(0x70, list8(3, b"\x40\x40\x70\x00\x00\x00")) + BODY, "longer"),
        ("to", section(0x73, list8(3, b"\x40\x40\xa1\x02x")) + BODY, "longer"),
        ("to", section(0x73, list8(3, b"\x40\x40\xb1\xff\xff\xff\xffx")) + BODY, "longer"),
        ("to", section(0x73, list8(3, b"\x40\xa0\xff\x40\x40")) + BODY, "more items"),
        ("to", section(0x73, b"\xc0\xff\x03\x40\x40\xa1\x01x"), "longer"),
        ("to", section(0x73, b"\xd0\xff\xff\xff\xff\x00\x00\x00\x03\x40\x40\xa1\x01x"), "longer"),
        ("to", section(0x70, b"\xc0\xff\x01\x40"), "longer"),
        ("to", section(0x72, b"\xd1\xff\xff\xff\xff\x00\x00\x00\x00"), "longer"),
        ("to", b"\x00", "longer"),
        ("to", b"\x00\x53\x73", "longer"),
        ("to", b"\x00\xa3\xff", "longer"),
        ("key", section(0x74, map8(str8("key"))) + BODY, "without a value"),
        ("key", section(0x74, b"\xc1\x05\x02\xa1\x03key") + BODY, "longer|more items"),
        ("key", section(0x74, b"\xc1\x06\x02\xa1\x03key") + BODY, "more items|longer"),
        ("key", section(0x74, map8(str8("key"), b"\xa1\x02x")) + BODY, "longer"),
        ("key", section(0x74, map8(str8("other"), b"\xa1\x02x")) + BODY, "longer"),
        ("to", section(0x72, b"\x00" * (MAX_NESTING + 1) + b"\x40" * (MAX_NESTING + 2)), "nested too deep"),
        ("to", properties(message_id=b"\x00\x53\x01" * (MAX_NESTING + 1) + b"\x40", to=str8("x")), "nested too deep"),
    ],
)
def test_a_broken_message_is_malformed_and_says_how(name: str, data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        field(data, name, True) if name in FIELDS else application_property(data, name, True)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("to", section(0x72, b"\xd1\xff\xff\xff\xff\x00\x00\x00\x00")),
        ("to", section(0x73, b"\xd0\xff\xff\xff\xff\x00\x00\x00\x03\x40\x40\xb1\xff\xff\xff\x00")),
        ("to", section(0x73, b"\xd0\xff\xff\xff\xff\x00\x00\x00\x03\xb0\xff\xff\xff\x00")),
        ("key", section(0x74, b"\xd1\xff\xff\xff\xff\xff\xff\xff\xf0")),
    ],
)
def test_sizes_near_2_to_the_32_do_not_wrap_around(name: str, data: bytes) -> None:
    assert answer(data, name, False) is Short
    assert answer(data + b"\x40" * 64, name, False) is Short
    assert answer(data + b"\x40" * 64, name, True) is Malformed
