"""The SASL mechanisms by which a client says who it is, frame by frame, and what somebody is asked about it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramMechanism

from tests.net.frames import AMQP, SASL, binary, described, frame, symbol, taken_apart
from txrouter.amqp.mechanisms import Anonymous, Certified, Password, ScramKeys, ScramProof, ScramUser
from txrouter.amqp.sasl import MAX_FRAME, Negotiation

INIT, CHALLENGE, RESPONSE, OUTCOME = 0x41, 0x42, 0x43, 0x44
SCRAMS = ["SCRAM-SHA-256", "SCRAM-SHA-1"]


def init(mechanism: str, response: bytes | None = None) -> bytes:
    said = [symbol(mechanism)] if response is None else [symbol(mechanism), binary(response)]
    return frame(described(INIT, *said), kind=1)


def response(said: bytes) -> bytes:
    return frame(described(RESPONSE, binary(said)), kind=1)


def answered(data: bytes) -> list[tuple[int | None, list[object]]]:
    """What the server says: performatives and their fields."""
    frames, rest = taken_apart(data.removeprefix(SASL))
    assert rest == b""
    return [(each.performative, each.fields) for each in frames]


def begun(mechanism: str, response: bytes | None = None) -> tuple[Negotiation, bytes]:
    """A negotiation in which the client has chosen this mechanism, and what the server said to that."""
    negotiation = Negotiation([mechanism], allow_bare=False)
    negotiation.receive(SASL)
    return negotiation, negotiation.receive(init(mechanism, response))


OK = [(OUTCOME, [0])]
AUTH = [(OUTCOME, [1])]
SYS_TEMP = [(OUTCOME, [4])]
EMPTY = [(CHALLENGE, [b""])]


# -- PLAIN -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"\0alice\0secret", b"alice\0alice\0secret"])
def test_plain_is_a_user_and_a_password(said: bytes) -> None:
    negotiation, answer = begun("PLAIN", said)
    assert (negotiation.state, answer) == ("asking", b"")
    assert negotiation.claim == Password("alice", "secret")
    assert negotiation.claimed == "alice"
    assert answered(negotiation.admit()) == OK
    negotiation.receive(AMQP)
    assert negotiation.state == "done"


def test_who_says_nothing_at_once_is_asked_with_an_empty_challenge() -> None:
    negotiation, answer = begun("PLAIN")
    assert answered(answer) == EMPTY
    assert negotiation.receive(response(b"\0alice\0secret")) == b""
    assert negotiation.claim == Password("alice", "secret")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "not `NUL user NUL password`"),
        (b"alice\0secret", "not `NUL user NUL password`"),
        (b"\0alice\0secret\0", "not `NUL user NUL password`"),
        (b"\0\0secret", "no user, or no password"),
        (b"\0alice\0", "no user, or no password"),
        (b"bob\0alice\0secret", "a user who wants to be another"),
        (b"\0alice\0\xffsecret", "not in UTF-8"),
    ],
)
def test_plain_that_is_said_wrongly_is_rejected_without_asking_anybody(said: bytes, why: str) -> None:
    negotiation, answer = begun("PLAIN", said)
    assert answered(answer) == AUTH
    assert (negotiation.state, negotiation.rejected) == ("failed", True)
    assert why in negotiation.failure
    assert "secret" not in negotiation.failure


def test_a_password_is_in_nothing_that_is_shown() -> None:
    negotiation, _ = begun("PLAIN", b"\0alice\0secret")
    assert "secret" not in repr(negotiation.claim)
    assert "alice" in repr(negotiation.claim)


# -- what is judged ----------------------------------------------------------------------------------------------------


def test_a_claim_that_is_not_true_is_rejected_and_the_client_is_not_told_why() -> None:
    negotiation, _ = begun("PLAIN", b"\0alice\0secret")
    assert answered(negotiation.reject("alice has left")) == AUTH
    assert (negotiation.state, negotiation.failure, negotiation.rejected) == ("failed", "alice has left", True)
    assert negotiation.remainder == b""


def test_where_nobody_can_find_out_the_client_may_try_again() -> None:
    negotiation, _ = begun("PLAIN", b"\0alice\0secret")
    assert answered(negotiation.reject("the database is down", temporary=True)) == SYS_TEMP
    assert negotiation.state == "failed"


def test_what_comes_while_a_claim_is_judged_waits() -> None:
    negotiation, _ = begun("PLAIN", b"\0alice\0secret")
    assert negotiation.receive(AMQP) == b""
    assert negotiation.receive(b"more") == b""
    assert (negotiation.state, negotiation.remainder) == ("asking", b"")
    assert answered(negotiation.admit()) == OK
    assert (negotiation.state, negotiation.remainder) == ("done", AMQP + b"more")


def test_amqp_without_an_outcome_is_not_taken() -> None:
    """A claim is judged, and what came behind it is no AMQP header: nobody comes in by saying more."""
    negotiation, _ = begun("PLAIN", b"\0alice\0secret")
    negotiation.receive(init("PLAIN", b"\0bob\0secret") + AMQP)
    negotiation.admit()
    assert (negotiation.state, negotiation.rejected, negotiation.remainder) == ("failed", False, b"")


def test_a_bare_client_is_judged_too() -> None:
    negotiation = Negotiation()
    assert negotiation.receive(AMQP) == b""
    assert negotiation.state == "asking"
    assert negotiation.reject("not today") == b""
    assert negotiation.state == "failed"


# -- EXTERNAL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "user"), [(b"", ""), (b"alice", "alice")])
def test_external_may_say_who_is_meant(said: bytes, user: str) -> None:
    negotiation, _ = begun("EXTERNAL", said)
    assert negotiation.claim == Certified(user)
    assert answered(negotiation.admit()) == OK


def test_external_without_a_response_is_asked_for_one() -> None:
    negotiation, answer = begun("EXTERNAL")
    assert answered(answer) == EMPTY
    negotiation.receive(response(b""))
    assert negotiation.claim == Certified("")


# -- SCRAM -------------------------------------------------------------------------------------------------------------


def keys(mechanism: str, password: str = "secret") -> ScramKeys:
    return ScramKeys(*ScramMechanism(mechanism).make_auth_info(password))


def challenged(mechanism: str, password: str = "secret", user: str = "alice") -> tuple[Negotiation, ScramClient]:
    """A negotiation in which the client is about to prove itself, and the client."""
    client = ScramClient([mechanism], user, password)
    negotiation, answer = begun(mechanism, client.get_client_first().encode())
    assert answer == b""
    assert negotiation.claim == ScramUser(user, mechanism)
    ((performative, (challenge,)),) = answered(negotiation.challenge(keys(mechanism)))
    assert performative == CHALLENGE
    assert isinstance(challenge, bytes)
    client.set_server_first(challenge.decode())
    return negotiation, client


@pytest.mark.parametrize("mechanism", SCRAMS)
@pytest.mark.parametrize("user", ["alice", "a=b,c", "ünïcode"])
def test_scram_proves_both_sides_to_each_other(mechanism: str, user: str) -> None:
    negotiation, client = challenged(mechanism, user=user)
    assert negotiation.receive(response(client.get_client_final().encode())) == b""
    assert negotiation.claim == ScramProof(user, True)
    ((performative, (code, data)),) = answered(negotiation.admit())
    assert (performative, code) == (OUTCOME, 0)
    assert isinstance(data, bytes)
    client.set_server_final(data.decode())
    negotiation.receive(AMQP)
    assert negotiation.state == "done"


@pytest.mark.parametrize("mechanism", SCRAMS)
def test_scram_with_a_wrong_password_is_no_proof(mechanism: str) -> None:
    negotiation, client = challenged(mechanism, password="guessed")
    negotiation.receive(response(client.get_client_final().encode()))
    assert negotiation.claim == ScramProof("alice", False)
    assert answered(negotiation.reject("")) == AUTH


def test_without_proof_nobody_is_let_in_even_if_somebody_would() -> None:
    negotiation, client = challenged("SCRAM-SHA-256", password="guessed")
    negotiation.receive(response(client.get_client_final().encode()))
    assert answered(negotiation.admit()) == AUTH
    assert negotiation.state == "failed"


def test_who_has_said_only_a_name_is_not_let_in_even_if_somebody_would() -> None:
    client = ScramClient(["SCRAM-SHA-256"], "alice", "secret")
    negotiation, _ = begun("SCRAM-SHA-256", client.get_client_first().encode())
    negotiation.admit()
    assert negotiation.claim == ScramProof("alice", False)
    assert answered(negotiation.admit()) == AUTH


@pytest.mark.parametrize(
    "said", [b"", b"x", b"n,,n=alice", b"n,,r=abc", b"p=tls-unique,,n=alice,r=abc", b"n,a=bob,n=alice,r=abc", b"\xff"]
)
def test_scram_that_begins_wrongly_is_rejected_without_asking_anybody(said: bytes) -> None:
    negotiation, answer = begun("SCRAM-SHA-256", said)
    assert answered(answer) == AUTH
    assert (negotiation.state, negotiation.rejected) == ("failed", True)


def test_scram_whose_answer_would_not_fit_in_a_frame_is_refused() -> None:
    negotiation, _ = begun("SCRAM-SHA-256", b"n,,n=a,r=" + b"x" * 420)
    assert negotiation.challenge(keys("SCRAM-SHA-256")) == b""
    assert (negotiation.state, negotiation.rejected) == ("failed", False)
    assert f"{MAX_FRAME} are allowed" in negotiation.failure


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.sampled_from(SCRAMS),
    st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), max_size=3),
)
def test_no_response_raises_or_lets_anybody_in(mechanism: str, said: list[bytes]) -> None:
    client = ScramClient([mechanism], "alice", "guessed")
    negotiation, _ = begun(mechanism, client.get_client_first().encode())
    negotiation.challenge(ScramKeys(bytes(16), bytes(20), bytes(20), 4096))
    for each in said:
        negotiation.receive(response(each))
        if negotiation.claim is not None:
            assert negotiation.claim == ScramProof("alice", False)
            negotiation.admit()
    assert negotiation.state == ("failed" if said else "open")


@pytest.mark.parametrize(
    "wrong", [init("PLAIN"), frame(described(RESPONSE), kind=1), frame(described(RESPONSE, "x"), kind=1)]
)
def test_where_a_response_is_expected_nothing_else_will_do(wrong: bytes) -> None:
    negotiation, _ = begun("PLAIN")
    assert negotiation.receive(wrong) == b""
    assert (negotiation.state, negotiation.rejected) == ("failed", False)
    assert "sasl-response" in negotiation.failure


# -- anything ----------------------------------------------------------------------------------------------------------

NAMES = [*SCRAMS, "EXTERNAL", "PLAIN", "ANONYMOUS"]
SAID = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from([b"\0alice\0secret", b"alice", b"n,,n=alice,r=abc", b"c=biws,r=abc,p=AAAA"]),
)
PIECES = st.one_of(
    st.sampled_from([SASL, AMQP, SASL + AMQP]),
    st.builds(init, st.sampled_from(NAMES), SAID),
    st.builds(response, SAID.filter(lambda said: said is not None)),
    st.binary(max_size=20),
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=6).map(lambda pieces: [SASL, *pieces, AMQP]), st.data())
def test_nobody_is_let_in_whose_claim_was_not_found_to_be_true(pieces: list[bytes], data: st.DataObject) -> None:
    negotiation = Negotiation(NAMES, allow_bare=False)
    admitted = None
    for piece in pieces:
        over = negotiation.state == "failed"
        answer = negotiation.receive(piece)
        assert not (over and answer)
        while (claim := negotiation.claim) is not None:
            judgement = data.draw(st.sampled_from(["admit", "reject", "cannot", "challenge"]))
            if judgement == "admit":
                admitted = claim
                negotiation.admit()
            elif judgement == "challenge" and isinstance(claim, ScramUser):
                negotiation.challenge(ScramKeys(bytes(16), bytes(20), bytes(20), 4096))
            else:
                negotiation.reject("no", temporary=judgement == "cannot")
                assert negotiation.state == "failed"
        assert bool(negotiation.failure) == (negotiation.state == "failed")
        assert negotiation.remainder.startswith(AMQP) == (negotiation.state == "done")
    if negotiation.state == "done":
        assert isinstance(admitted, Anonymous | Password | Certified)  # here, nobody can prove anything
