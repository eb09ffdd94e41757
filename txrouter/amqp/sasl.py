"""The server's end of the SASL layer: who is it, before proton is shown a byte.

A connection begins with a protocol header. One asks for SASL; then the server names its mechanisms, the client chooses
one and proves who it is, the server says the outcome, and the AMQP header follows. A client may also begin with the
AMQP header at once, where that is allowed: it is anonymous.

The dialogue is written down as one generator that pauses where it has to wait for the client. Whatever a client sends
can only end it, with a reason, and it is ended as soon as what has come cannot become right any more: nobody who
speaks HTTP is waited for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from struct import error as StructError
from typing import Final

from txrouter.amqp.sections import open_list, read_descriptor, read_scalar, skip
from txrouter.core.deliveries import Malformed

__all__ = ["MAX_FRAME", "Negotiation"]

MAX_FRAME: Final = 512
"""The most bytes a SASL frame may have: no larger size can be agreed on before Open."""

_AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
_SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
_PROTOCOLS: Final = {0: "AMQP", 2: "TLS inside of AMQP", 3: "SASL"}

_SASL_FRAME: Final = 1
_MECHANISMS, _INIT, _OUTCOME = 0x40, 0x41, 0x44
_INIT_SYMBOLS: Final = {b"amqp:sasl-init:list": _INIT}

_OK, _AUTHENTICATION_FAILED = 0, 1

_KNOWN: Final = ("ANONYMOUS",)


class _Refused(Exception):
    """The client's bytes are not what has to come now."""


_Steps = Generator[None, None, None]


class Negotiation:
    """What one connection says before AMQP. It does no I/O; give it the client's bytes until `state` is not `open`.

    :param mechanisms: the SASL mechanisms to offer, most wanted first; with none, only the bare AMQP header is taken.
    :param allow_bare: whether a client may begin with the AMQP header, without SASL.
    :raise ValueError: a mechanism is not known, or no client could ever get in.
    """

    def __init__(self, mechanisms: Sequence[str] = _KNOWN, allow_bare: bool = True) -> None:
        for mechanism in mechanisms:
            if mechanism not in _KNOWN:
                raise ValueError(f"there is no SASL mechanism {mechanism!r} here; there is {', '.join(_KNOWN)}")
        if not mechanisms and not allow_bare:
            raise ValueError("without SASL mechanisms, the bare AMQP header has to be allowed")
        self.state = "open"
        """`open`, `done` or `failed`."""
        self.user = ""
        """Who it is, once done."""
        self.mechanism = ""
        """The SASL mechanism the client chose; empty if it came without SASL."""
        self.failure = ""
        """Why it failed, for the log."""
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
        """Go on with what the client sent. Once failed, it is ignored; once done, it is added to the remainder.

        :return: what to send to the client, also when this was the end of it.
        """
        if self.state != "failed":
            self._input += data
        if self.state == "open":
            try:
                next(self._dialogue)
            except StopIteration:
                self.state = "done"
            except _Refused as reason:
                self.state = "failed"
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
        yield from self._header(*accepted)
        if not self._input.startswith(_SASL_HEADER):
            self.user = "anonymous"
            return
        self._take(len(_SASL_HEADER))
        self._output += _SASL_HEADER + _mechanisms_frame(self._mechanisms)
        yield from self._authenticate()
        yield from self._header(_AMQP_HEADER)

    def _authenticate(self) -> _Steps:
        yield from self._frame()
        mechanism = _chosen_mechanism(_body(self._take(self._frame_size())))
        if mechanism not in self._mechanisms:
            self._output += _outcome_frame(_AUTHENTICATION_FAILED)
            raise _Refused(f"the SASL mechanism {mechanism[:40]!r} is not offered")
        self.mechanism = mechanism
        self.user = "anonymous"
        self._output += _outcome_frame(_OK)

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
                raise _Refused(_what_is_wrong(start, accepted))
            yield

    def _frame(self) -> _Steps:
        """Wait until a whole SASL frame has come, and leave it where it is."""
        while len(self._input) < 4:
            yield
        size = self._frame_size()
        if not 8 <= size <= MAX_FRAME:
            raise _Refused(f"a SASL frame of {size} bytes; 8 to {MAX_FRAME} are allowed")
        while len(self._input) < size:
            yield

    def _frame_size(self) -> int:
        return int.from_bytes(self._input[:4], "big")

    def _take(self, size: int) -> bytes:
        taken = bytes(self._input[:size])
        del self._input[:size]
        return taken


# -- what the client sends -------------------------------------------------------------------------


def _what_is_wrong(start: bytes, accepted: Sequence[bytes]) -> str:
    if not b"AMQP".startswith(start[:4]):
        return f"this is not AMQP: it begins with {start!r}"
    if start[4] not in (header[4] for header in accepted):
        protocol = _PROTOCOLS.get(start[4], f"the protocol {start[4]} of AMQP")
        return f"{protocol} is not accepted where {_PROTOCOLS[accepted[0][4]]} is expected"
    return f"this is not version 1.0.0 of AMQP: {'.'.join(map(str, start[5:]))}"


def _body(frame: bytes) -> bytes:
    begin = frame[4] * 4
    if not 8 <= begin <= len(frame):
        raise _Refused(f"a frame of {len(frame)} bytes whose body begins at {begin}")
    if frame[5] != _SASL_FRAME:
        raise _Refused(f"a frame of the type {frame[5]} before SASL was over")
    if begin == len(frame):
        raise _Refused("an empty SASL frame")
    return frame[begin:]


def _chosen_mechanism(body: bytes) -> str:
    """The mechanism that a sasl-init names. Its initial response and host name mean nothing to ANONYMOUS."""
    try:
        performative, at = read_descriptor(body, 0, _INIT_SYMBOLS)
        if performative != _INIT:
            raise _Refused(f"the SASL performative {performative:#x} where sasl-init is expected")
        at, end, count = open_list(body, at)
        if not count:
            raise _Refused("a sasl-init without a mechanism")
        mechanism, _ = read_scalar(body, at, end)
        for _ in range(count):
            at = skip(body, at)
    except (IndexError, StructError):
        raise _Refused("a malformed sasl-init: it ends early") from None
    except (Malformed, UnicodeDecodeError) as error:
        raise _Refused(f"a malformed sasl-init: {error}") from None
    if not isinstance(mechanism, str):
        raise _Refused("a sasl-init without a mechanism")
    if not at == end == len(body):
        raise _Refused("a sasl-init whose length is not that of its fields, or of its frame")
    return mechanism


# -- what the server sends -------------------------------------------------------------------------


def _mechanisms_frame(mechanisms: Sequence[str]) -> bytes:
    symbols = b"".join(bytes((len(name),)) + name.encode("ascii") for name in mechanisms)
    array = bytes((0xE0, 2 + len(symbols), len(mechanisms), 0xA3)) + symbols
    return _frame(_MECHANISMS, array)


def _outcome_frame(code: int) -> bytes:
    return _frame(_OUTCOME, bytes((0x50, code)))


def _frame(performative: int, field: bytes) -> bytes:
    """A SASL frame of a performative with one field."""
    body = bytes((0x00, 0x53, performative, 0xC0, 1 + len(field), 1)) + field
    return (8 + len(body)).to_bytes(4, "big") + bytes((2, _SASL_FRAME, 0, 0)) + body
