"""The server's end of the SASL layer: who is it, before proton is shown a byte.

A connection begins with a protocol header. One asks for SASL; then the server names its mechanisms, the client chooses
one and proves who it is, the server says the outcome, and the AMQP header follows. A client may also begin with the
AMQP header at once, where that is allowed: it is anonymous.

The dialogue is written down as one generator that pauses where it has to wait: for the client, or for somebody to judge
what the client claims. Whatever a client sends can only end it, with a reason, and it is ended as soon as what has come
cannot become right any more: nobody who speaks HTTP is waited for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from txrouter.amqp.mechanisms import MECHANISMS, Anonymous, Claim, Rejected, ScramKeys
from txrouter.amqp.sasl_frames import (
    AUTHENTICATION_FAILED,
    MAX_FRAME,
    OK,
    TEMPORARY_FAILURE,
    Refused,
    challenge_frame,
    mechanisms_frame,
    outcome_frame,
    read_init,
    read_response,
)

__all__ = ["MAX_FRAME", "Negotiation"]

_AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
_SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
_PROTOCOLS: Final = {0: "AMQP", 2: "TLS inside of AMQP", 3: "SASL"}

# what it yields is the claim that is to be judged, or None if the client is to go on
_Steps = Generator[Claim | None, Any, None]


class _Unavailable(Exception):
    """Nobody could find out whether the claim is true."""


class Negotiation:
    """What one connection says before AMQP. It does no I/O, and lets nobody in by itself: give it the client's bytes
    until `state` is `done` or `failed`, and judge the `claim` whenever it is `asking`.

    :param mechanisms: the SASL mechanisms to offer, most wanted first; with none, only the bare AMQP header is taken.
    :param allow_bare: whether a client may begin with the AMQP header, without SASL.
    :raise ValueError: a mechanism is not known.
    """

    def __init__(self, mechanisms: Sequence[str] = ("ANONYMOUS",), allow_bare: bool = True) -> None:
        for mechanism in mechanisms:
            if mechanism not in MECHANISMS:
                raise ValueError(f"there is no SASL mechanism {mechanism!r} here; there is {', '.join(MECHANISMS)}")
        self.state = "open"
        """`open`: the client's turn. `asking`: somebody has to judge the claim. `done` or `failed`: it is over."""
        self.claim: Claim | None = None
        """What the client claims, while that is to be judged."""
        self.claimed = ""
        """The name of the user that it claims to be, for the log; empty if none."""
        self.mechanism = ""
        """The SASL mechanism the client chose; empty if it came without SASL."""
        self.rejected = False
        """Whether it failed because of who the client is, or says it is."""
        self.unjudged = False
        """Whether it failed because nobody could find out if the claim is true. Otherwise, because of how the client
        speaks."""
        self.failure = ""
        """Why it failed, for the log. Nothing secret is in it."""
        self._mechanisms = tuple(mechanisms)
        self._allow_bare = allow_bare
        self._input = bytearray()
        self._output = bytearray()
        self._dialogue = self._converse()

    @property
    def remainder(self) -> bytes:
        """Once done, what has come for proton: all that was received, from the AMQP header on."""
        return bytes(self._input) if self.state == "done" else b""

    def receive(self, data: bytes) -> bytes:
        """Go on with what the client sent. While a claim is judged it is kept, so that the transport is better told to
        read no more. Once failed, it is ignored; once done, it is added to the remainder.

        :return: what to send to the client, also when this was the end of it.
        """
        if self.state != "failed":
            self._input += data
        return self._go_on(None) if self.state == "open" else b""

    def admit(self) -> bytes:
        """The claim is true, and they may come in.

        :return: as for `receive`.
        """
        return self._go_on(None)

    def challenge(self, keys: ScramKeys) -> bytes:
        """Of a `ScramUser`: have them prove that they are the one with these keys.

        :return: as for `receive`.
        """
        return self._go_on(keys)

    def reject(self, why: str, *, temporary: bool = False) -> bytes:
        """The claim is not true; or, if `temporary`, nobody could find out. `why` is for the log, not for the client.

        :return: as for `receive`.
        """
        return self._go_on(_Unavailable(why) if temporary else Rejected(why))

    def _go_on(self, judged: ScramKeys | Exception | None) -> bytes:
        self.claim = None
        try:
            if isinstance(judged, Exception):
                self.claim = self._dialogue.throw(judged)
            else:
                self.claim = self._dialogue.send(judged)
            self.state = "open" if self.claim is None else "asking"
            if self.claim is not None:
                self.claimed = self.claim.user
        except StopIteration:
            self.state = "done"
        except (Refused, Rejected, _Unavailable) as reason:
            self.state = "failed"
            self.rejected = isinstance(reason, Rejected)
            self.unjudged = isinstance(reason, _Unavailable)
            self.failure = str(reason)
            self._input.clear()
        answer = bytes(self._output)
        self._output.clear()
        return answer

    # -- the dialogue ------------------------------------------------------------------------------

    def _converse(self) -> _Steps:
        accepted = [_SASL_HEADER] if self._mechanisms else []
        if self._allow_bare:
            accepted.append(_AMQP_HEADER)
        if not accepted:
            self._output += _SASL_HEADER
            raise Rejected("there is no way in for who comes like this")
        yield from self._header(*accepted)
        if not self._input.startswith(_SASL_HEADER):
            yield Anonymous()
            return
        self._take(len(_SASL_HEADER))
        self._output += _SASL_HEADER + mechanisms_frame(self._mechanisms)
        try:
            yield from self._authenticate()
        except Rejected:
            self._output += outcome_frame(AUTHENTICATION_FAILED)
            raise
        except _Unavailable:
            self._output += outcome_frame(TEMPORARY_FAILURE)
            raise
        yield from self._header(_AMQP_HEADER)

    def _authenticate(self) -> _Steps:
        yield from self._frame()
        init = read_init(self._take(self._frame_size()))
        if init.mechanism not in self._mechanisms:
            raise Rejected(f"the SASL mechanism {init.mechanism[:40]!r} is not offered")
        self.mechanism = init.mechanism
        steps = MECHANISMS[init.mechanism](init.response)
        given: Any = None
        while True:
            try:
                step = steps.send(given)
            except StopIteration as end:
                self._output += outcome_frame(OK, end.value)
                return
            if isinstance(step, bytes):
                self._output += challenge_frame(step)
                yield from self._frame()
                given = read_response(self._take(self._frame_size()))
            else:
                given = yield step

    # -- waiting for the client --------------------------------------------------------------------

    def _header(self, *accepted: bytes) -> _Steps:
        """Wait until one of these protocol headers has come, and leave it where it is."""
        while True:
            start = bytes(self._input[:8])
            if start in accepted:
                return
            if not any(header.startswith(start) for header in accepted):
                # as the specification has it: answer with the header that would have been right
                self._output += accepted[0]
                raise Refused(_what_is_wrong(start, accepted))
            yield None

    def _frame(self) -> _Steps:
        """Wait until a whole SASL frame has come, and leave it where it is."""
        while len(self._input) < 4:
            yield None
        size = self._frame_size()
        if not 8 <= size <= MAX_FRAME:
            raise Refused(f"a SASL frame of {size} bytes; 8 to {MAX_FRAME} are allowed")
        while len(self._input) < size:
            yield None

    def _frame_size(self) -> int:
        return int.from_bytes(self._input[:4], "big")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._input[:size])
        del self._input[:size]
        return taken


def _what_is_wrong(start: bytes, accepted: Sequence[bytes]) -> str:
    if not b"AMQP".startswith(start[:4]):
        return f"this is not AMQP: it begins with {start!r}"
    if start[4] not in (header[4] for header in accepted):
        protocol = _PROTOCOLS.get(start[4], f"the protocol {start[4]} of AMQP")
        return f"{protocol} is not accepted where {_PROTOCOLS[accepted[0][4]]} is expected"
    return f"this is not version 1.0.0 of AMQP: {'.'.join(map(str, start[5:]))}"
