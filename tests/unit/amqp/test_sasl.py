"""The SASL layer: byte by byte or all at once, with proton's own client, and against whatever else may knock."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

import proton
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from txrouter.amqp.mechanisms import Anonymous, Claim
from txrouter.amqp.sasl import MAX_FRAME, Negotiation

# a busy machine is no failure
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

AMQP = b"AMQP\x00\x01\x00\x00"
SASL = b"AMQP\x03\x01\x00\x00"
TLS = b"AMQP\x02\x01\x00\x00"
OPEN = b"\x00\x00\x00\x11\x02\x00\x00\x00\x00\x53\x10\xc0\x04\x01\xa1\x01x"

# written out, so that what goes over the wire is seen here
MECHANISMS = b"\x00\x00\x00\x1c\x02\x01\x00\x00\x00\x53\x40\xc0\x0f\x01\xe0\x0c\x01\xa3\x09ANONYMOUS"
OUTCOME_OK = b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x00"
OUTCOME_AUTH = b"\x00\x00\x00\x10\x02\x01\x00\x00\x00\x53\x44\xc0\x03\x01\x50\x01"

SYMBOL = b"\xa3\x09ANONYMOUS"


def frame(body: bytes, *, doff: int = 2, kind: int = 1, size: int | None = None) -> bytes:
    size = 8 + len(body) if size is None else size
    return struct.pack(">IBBH", size, doff, kind, 0) + body


def init(*fields: bytes, code: int = 0x41) -> bytes:
    items = b"".join(fields)
    return bytes((0x00, 0x53, code, 0xC0, 1 + len(items), len(fields))) + items


INIT = frame(init(SYMBOL))


class Said(NamedTuple):
    """Everything that can be seen of a negotiation."""

    state: str
    output: bytes
    remainder: bytes
    claims: list[Claim]
    mechanism: str
    failure: str


def negotiate(*pieces: bytes, mechanisms: tuple[str, ...] = ("ANONYMOUS",), allow_bare: bool = True) -> Said:
    """Every claim is found to be true."""
    negotiation = Negotiation(mechanisms, allow_bare)
    output, claims = b"", []
    for piece in pieces:
        output += negotiation.receive(piece)
        while negotiation.claim is not None:
            claims.append(negotiation.claim)
            output += negotiation.admit()
    return Said(
        negotiation.state,
        output,
        negotiation.remainder,
        claims,
        negotiation.mechanism,
        negotiation.failure,
    )


# -- who gets in -----------------------------------------------------------------------------------


def test_a_client_that_waits_for_each_answer_gets_in() -> None:
    negotiation = Negotiation()
    assert negotiation.receive(SASL) == SASL + MECHANISMS
    assert negotiation.receive(INIT) == b""
    assert (negotiation.state, negotiation.claim) == ("asking", Anonymous())
    assert negotiation.admit() == OUTCOME_OK
    assert negotiation.state == "open"
    assert negotiation.remainder == b""
    assert negotiation.receive(AMQP) == b""
    assert (negotiation.state, negotiation.remainder) == ("done", AMQP)
    assert (negotiation.claim, negotiation.mechanism, negotiation.failure) == (None, "ANONYMOUS", "")


def test_a_client_that_sends_everything_at_once_gets_in() -> None:
    said = negotiate(SASL + INIT + AMQP + OPEN)
    assert said == Said("done", SASL + MECHANISMS + OUTCOME_OK, AMQP + OPEN, [Anonymous()], "ANONYMOUS", "")


def test_a_bare_amqp_header_is_an_anonymous_client() -> None:
    assert negotiate(AMQP + OPEN) == Said("done", b"", AMQP + OPEN, [Anonymous()], "", "")


def test_what_comes_after_the_end_is_added_to_the_remainder() -> None:
    assert negotiate(AMQP, OPEN, b"", OPEN).remainder == AMQP + OPEN + OPEN


@pytest.mark.parametrize(
    "body",
    [
        init(SYMBOL, b"\xa0\x05trace"),
        init(SYMBOL, b"\x40", b"\xa1\x09localhost"),
        init(SYMBOL, b"\xb0\x00\x00\x00\x00", b"\xb1\x00\x00\x00\x00"),
        init(b"\xb3\x00\x00\x00\x09ANONYMOUS"),
        b"\x00\x80\x00\x00\x00\x00\x00\x00\x00\x41\xd0\x00\x00\x00\x0f\x00\x00\x00\x01" + SYMBOL,
        b"\x00\xa3\x13amqp:sasl-init:list\xc0\x0c\x01" + SYMBOL,
        b"\x00\x53\x41\xd0\x00\x00\x01\xe4\x00\x00\x00\x02" + SYMBOL + b"\xb0\x00\x00\x01\xd0" + bytes(464),
    ],
    ids=["response", "host", "empty", "sym32", "ulong and list32", "symbol", "large"],
)
def test_a_sasl_init_may_be_encoded_in_any_way(body: bytes) -> None:
    assert len(frame(body)) <= MAX_FRAME
    assert negotiate(SASL + frame(body) + AMQP).state == "done"


def test_a_frame_may_have_an_extended_header_and_anything_in_its_last_two_bytes() -> None:
    extended = frame(b"\xff" * 8 + init(SYMBOL), doff=4)
    assert negotiate(SASL + extended[:6] + b"\x12\x34" + extended[8:] + AMQP).state == "done"


# -- the same, however it is cut -------------------------------------------------------------------

STREAMS = st.sampled_from(
    [
        AMQP + OPEN,
        SASL + INIT + AMQP + OPEN,
        SASL + frame(init(SYMBOL, b"\xa0\x05trace", b"\xa1\x01h")) + AMQP,
        SASL + frame(init(b"\xa3\x05PLAIN")) + AMQP,
        SASL + INIT + INIT,
        SASL + frame(b""),
        SASL + frame(b"\x00" * 40) + AMQP,
        SASL + frame(b"", size=MAX_FRAME + 1) + AMQP,
        SASL + OPEN,
        TLS,
        b"GET / HTTP/1.1\r\n\r\n",
    ]
)


def cut(stream: bytes, at: set[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


def alike(said: Said) -> Said:
    # how much of a wrong header is quoted depends on how much of it had come
    return said._replace(failure=said.failure.partition(":")[0])


@unhurried
@given(STREAMS, st.booleans(), st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(stream: bytes, allow_bare: bool, data: st.DataObject) -> None:
    whole = negotiate(stream, allow_bare=allow_bare)
    pieces = cut(stream, data.draw(st.sets(st.integers(0, len(stream)))))
    assert alike(negotiate(*pieces, allow_bare=allow_bare)) == alike(whole)
    single = [bytes((byte,)) for byte in stream]
    assert alike(negotiate(*single, allow_bare=allow_bare)) == alike(whole)


@unhurried
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [SASL, AMQP, INIT, SASL + INIT, OPEN, b"\x00\x00\x00\x20", b"\x02\x01\x00\x00\x00\x53\x41"]
            ),
            st.binary(max_size=40),
            st.binary(max_size=40).map(frame),
            st.binary(max_size=20).map(lambda items: frame(init(SYMBOL, items))),
        )
    ),
    st.booleans(),
)
def test_no_bytes_raise_or_are_kept_without_end(pieces: list[bytes], allow_bare: bool) -> None:
    negotiation = Negotiation(allow_bare=allow_bare)
    for piece in pieces:
        state = negotiation.state
        answer = negotiation.receive(piece)
        assert state == "open" or answer == b""
        if negotiation.claim is not None:
            negotiation.admit()
        assert bool(negotiation.failure) == (negotiation.state == "failed")
        assert negotiation.remainder.startswith(AMQP) == (negotiation.state == "done")
        if negotiation.state == "open":
            assert len(negotiation._input) < MAX_FRAME


# -- who does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (TLS, "TLS inside of AMQP is not accepted where SASL is expected"),
        (b"AMQP\x07\x01\x00\x00", "the protocol 7 of AMQP is not accepted"),
        (b"AMQP\x03\x01\x00\x01", "not version 1.0.0 of AMQP: 1.0.1"),
        (b"AMQP\x00\x01\x01\x00", "not version 1.0.0 of AMQP: 1.1.0"),
        (b"AMQP\x00\x00\x09\x01", "not version 1.0.0 of AMQP: 0.9.1"),
        (b"AMQP\x01\x01\x00\x0a", "the protocol 1 of AMQP is not accepted"),
        (b"GET / HTTP/1.1\r\n", "not AMQP: it begins with b'GET / HT'"),
        (b"\x16\x03\x01\x02\x00\x01", "not AMQP"),
        (b"amqp\x00\x01\x00\x00", "not AMQP"),
        (bytes(8), "not AMQP"),
    ],
    ids=["tls", "unknown protocol", "3 1.0.1", "0 1.1.0", "0.9.1", "0.10", "http", "tls hello", "lower case", "zeros"],
)
def test_a_wrong_header_is_answered_with_the_right_one(start: bytes, why: str) -> None:
    said = negotiate(start)
    assert (said.state, said.output, said.remainder, said.claims) == ("failed", SASL, b"", [])
    assert why in said.failure
    assert negotiate(start, mechanisms=()).output == AMQP


def test_without_sasl_a_sasl_header_is_answered_with_the_amqp_header() -> None:
    said = negotiate(SASL + INIT, mechanisms=())
    assert (said.state, said.output) == ("failed", AMQP)
    assert said.failure == "SASL is not accepted where AMQP is expected"
    assert negotiate(AMQP, mechanisms=()).state == "done"


def test_where_the_bare_header_is_not_allowed_it_is_answered_with_the_sasl_header() -> None:
    said = negotiate(AMQP + OPEN, allow_bare=False)
    assert (said.state, said.output, said.remainder) == ("failed", SASL, b"")
    assert said.failure == "AMQP is not accepted where SASL is expected"


@pytest.mark.parametrize("start", [b"G", b"\x00", b"AMQ ", b"AMQP\x02", b"AMQP\x03\x02", b"AMQP\x00\x01\x00\x02"])
def test_a_wrong_header_is_refused_as_soon_as_it_is_wrong(start: bytes) -> None:
    negotiation = Negotiation()
    for byte in start[:-1]:
        assert negotiation.receive(bytes((byte,))) == b""
        assert negotiation.state == "open"
    assert negotiation.receive(start[-1:]) == SASL
    assert negotiation.state == "failed"


@pytest.mark.parametrize("mechanism", [b"\xa3\x05PLAIN", b"\xa3\x08EXTERNAL", b"\xa3\x09anonymous", b"\xa3\x00"])
def test_a_mechanism_that_is_not_offered_fails_to_authenticate(mechanism: bytes) -> None:
    said = negotiate(SASL + frame(init(mechanism, b"\xa0\x04\x00a\x00b")) + AMQP + OPEN)
    assert (said.state, said.output, said.remainder) == ("failed", SASL + MECHANISMS + OUTCOME_AUTH, b"")
    assert (said.claims, said.mechanism) == ([], "")
    assert "is not offered" in said.failure


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (frame(b"", size=0), "a SASL frame of 0 bytes; 8 to 512 are allowed"),
        (frame(b"", size=7), "a SASL frame of 7 bytes"),
        (b"\x00\x00\x02\x01", "a SASL frame of 513 bytes"),
        (b"\xff\xff\xff\xff", "a SASL frame of 4294967295 bytes"),
        (frame(init(SYMBOL), doff=0), "body begins at 0"),
        (frame(init(SYMBOL), doff=1), "body begins at 4"),
        (frame(init(SYMBOL), doff=255), "body begins at 1020"),
        (frame(b"", doff=3), "a frame of 8 bytes whose body begins at 12"),
        (frame(init(SYMBOL), kind=0), "a frame of the type 0 before SASL was over"),
        (OPEN, "a frame of the type 0 before SASL was over"),
        (frame(init(SYMBOL), kind=2), "a frame of the type 2"),
        (frame(b""), "an empty SASL frame"),
        (frame(b"\xff" * 4, doff=3), "an empty SASL frame"),
        (frame(init(SYMBOL, code=0x40)), "the SASL performative 0x40 where sasl-init is expected"),
        (frame(init(b"\xa0\x00", code=0x43)), "the SASL performative 0x43"),
        (frame(init(b"\xa1\x01x", code=0x10)), "the SASL performative 0x10"),
        (frame(b"\x00\x53\x41\x45"), "a sasl-init without a mechanism"),
        (frame(init(b"\x40")), "a sasl-init without a mechanism"),
        (frame(init(b"\xa0\x09ANONYMOUS")), "a sasl-init without a mechanism"),
        (frame(init(b"\xe0\x0c\x01" + SYMBOL)), "a sasl-init without a mechanism"),
        (frame(init(b"\x00\x53\x01" + SYMBOL)), "a sasl-init without a mechanism"),
        (frame(init(b"\xa3\x01\xff")), "a malformed sasl-init"),
        (frame(init(b"\xa3\x20ANONYMOUS")), "a malformed sasl-init"),
        (frame(init(SYMBOL, b"\xa0\x05tra")), "a malformed sasl-init: a value says it is longer"),
        (frame(init(SYMBOL, b"\xa1\x05trace")), "a sasl-init whose initial response is not binary"),
        (frame(init(SYMBOL, b"\x40", b"\xa1\x01\xff")), "a malformed sasl-init: a text is not in Unicode"),
        (frame(init(SYMBOL, b"\xff")), "a malformed sasl-init: there is no type 0xff"),
        (frame(init(SYMBOL) + b"\x40"), "a sasl-init whose length"),
        (frame(init(SYMBOL)[:-1]), "a malformed sasl-init"),
        (frame(b"\x00\x53\x41\xc0\x0d\x01" + SYMBOL + b"\x40"), "a sasl-init whose length"),
        (frame(b"\x00\x53\x41\xc0\x0c\xff" + SYMBOL), "a malformed sasl-init: a list or map"),
        (frame(b"\x00\x53\x41\xc1\x0c\x01" + SYMBOL), "a malformed sasl-init: a list or map is of the wrong type"),
        (frame(b"\x00\x53\x41"), "a malformed sasl-init: it ends early"),
        (frame(b"\x00\x53"), "a malformed sasl-init"),
        (frame(b"\x00"), "a malformed sasl-init"),
        (frame(SYMBOL), "a malformed sasl-init: a descriptor is missing"),
        (frame(b"\x00" * 100), "a malformed sasl-init: descriptors are nested too deep"),
    ],
)
def test_a_wrong_frame_ends_it_and_the_log_says_why(sent: bytes, why: str) -> None:
    said = negotiate(SASL, sent, AMQP + OPEN)
    assert (said.state, said.output, said.remainder, said.claims) == ("failed", SASL + MECHANISMS, b"", [])
    assert why in said.failure


@pytest.mark.parametrize("sent", [INIT, SASL, OPEN, b"GET /", b"AMQP\x00\x01\x00\x01"])
def test_after_the_outcome_only_the_amqp_header_is_taken(sent: bytes) -> None:
    said = negotiate(SASL + INIT, sent, AMQP)
    assert (said.state, said.output) == ("failed", SASL + MECHANISMS + OUTCOME_OK + AMQP)
    assert said.remainder == b""


def test_a_mechanism_that_is_not_known_cannot_be_offered() -> None:
    with pytest.raises(ValueError, match="no SASL mechanism 'GSSAPI' here; there is SCRAM-SHA-256, "):
        Negotiation(["GSSAPI"])


def test_where_there_is_no_way_in_everybody_is_turned_away() -> None:
    said = negotiate(SASL + INIT, mechanisms=(), allow_bare=False)
    assert (said.state, said.output, said.failure) == ("failed", SASL, "there is no way in for who comes like this")


# -- proton's own client ---------------------------------------------------------------------------


def pending(transport: proton.Transport) -> bytes:
    size = transport.pending()
    output = (transport.peek(size) or b"") if size > 0 else b""
    transport.pop(len(output))
    return output


@pytest.mark.parametrize("with_sasl", [True, False])
def test_protons_client_gets_in_and_opens_its_connection(with_sasl: bool) -> None:
    client, connection = proton.Transport(proton.Transport.CLIENT), proton.Connection()
    connection.container, connection.hostname = "client", "localhost"
    if with_sasl:
        client.sasl().allowed_mechs("ANONYMOUS")
    client.bind(connection)
    connection.open()
    server, accepted = proton.Transport(proton.Transport.SERVER), proton.Connection()
    server.bind(accepted)
    negotiation = Negotiation(allow_bare=not with_sasl)

    for _ in range(10):
        if negotiation.state == "open":
            answer = negotiation.receive(pending(client))
            if negotiation.claim is not None:
                answer += negotiation.admit()
            if negotiation.state == "done":
                server.push(negotiation.remainder)
        else:
            server.push(pending(client))
            answer = pending(server)
        client.push(answer)
        if accepted.state & proton.Endpoint.REMOTE_ACTIVE:
            accepted.open()

    assert (negotiation.state, negotiation.failure) == ("done", "")
    assert negotiation.mechanism == ("ANONYMOUS" if with_sasl else "")
    assert accepted.remote_container == "client"
    assert connection.state == proton.Endpoint.LOCAL_ACTIVE | proton.Endpoint.REMOTE_ACTIVE
    if with_sasl:
        assert client.sasl().outcome == proton.SASL.OK
