"""proton's C binding, and the rules for using it safely. Only this module and `data` touch it.

Rules that everything in `txrouter.amqp` keeps:

- A delivery pointer is used only while the router has not settled it, or while it is the delivery of the event being
  served. It leaves every map *before* it is settled: proton frees it then, and may reuse its address at once.
- Maps are keyed by the pointer itself (the binding hashes and compares pointers by address).
- The delivery of an event is not always its link's current one. `link_recv` and `link_advance` act on the current
  one: compare first.
- A half-sent delivery is aborted, never settled.
- Events can come for links and deliveries that were let go. An unknown pointer is ignored.
- No connection's events are served, and none is flushed, from within the events of another: it is marked, and
  flushed at the end of the turn.
- When a connection is lost: unbind the transport, free the collector, drop the transport, release the connection.
  After that no pointer into it is used.
- Names, tags, properties and conditions come from the peer: they are read only by the functions below and
  in `data`, which decode leniently, copy what they return, and look no deeper than they say.
- proton sees neither SASL nor TLS.

The functions are bound to short names once: the hot path calls some fifteen of them for a message.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from array import array
from typing import Any, Final

import cproton_ffi
from cproton_ffi import ffi, lib

from txrouter.amqp.data import extent, is_map, put_map, put_symbols, read_map, text_of

lib.init()


_Sink: Final = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_int, ctypes.c_char_p)
_nowhere: Final = _Sink(lambda *_: None)


def _be_quiet() -> None:
    """Have proton write nothing to stderr, where every client could fill the disk, unless somebody asks for it. The
    binding lacks these functions; they are in its library."""
    library = ctypes.CDLL(cproton_ffi.__file__)
    if hasattr(library, "pn_logger_set_log_sink") and not any(name.startswith("PN_") for name in os.environ):
        library.pn_default_logger.restype = ctypes.c_void_p
        library.pn_logger_set_log_sink.argtypes = (ctypes.c_void_p, _Sink, ctypes.c_ssize_t)
        library.pn_logger_set_log_sink(library.pn_default_logger(), _nowhere, 0)


_be_quiet()

NULL: Final[Any] = ffi.NULL
unpack: Final[Any] = ffi.unpack

# -- events ----------------------------------------------------------------------------------------

collector_peek: Final[Any] = lib.pn_collector_peek
collector_pop: Final[Any] = lib.pn_collector_pop
event_delivery: Final[Any] = lib.pn_event_delivery
event_link: Final[Any] = lib.pn_event_link
event_session: Final[Any] = lib.pn_event_session
event_type: Final[Any] = lib.pn_event_type

CONNECTION_REMOTE_OPEN: Final[int] = lib.PN_CONNECTION_REMOTE_OPEN
CONNECTION_REMOTE_CLOSE: Final[int] = lib.PN_CONNECTION_REMOTE_CLOSE
SESSION_REMOTE_OPEN: Final[int] = lib.PN_SESSION_REMOTE_OPEN
SESSION_REMOTE_CLOSE: Final[int] = lib.PN_SESSION_REMOTE_CLOSE
LINK_REMOTE_OPEN: Final[int] = lib.PN_LINK_REMOTE_OPEN
LINK_REMOTE_CLOSE: Final[int] = lib.PN_LINK_REMOTE_CLOSE
LINK_REMOTE_DETACH: Final[int] = lib.PN_LINK_REMOTE_DETACH
LINK_FLOW: Final[int] = lib.PN_LINK_FLOW
TRANSPORT: Final[int] = lib.PN_TRANSPORT
TRANSPORT_ERROR: Final[int] = lib.PN_TRANSPORT_ERROR
TRANSPORT_HEAD_CLOSED: Final[int] = lib.PN_TRANSPORT_HEAD_CLOSED
TRANSPORT_TAIL_CLOSED: Final[int] = lib.PN_TRANSPORT_TAIL_CLOSED
TRANSPORT_CLOSED: Final[int] = lib.PN_TRANSPORT_CLOSED

# -- deliveries ------------------------------------------------------------------------------------

new_delivery: Final[Any] = lib.pn_delivery
delivery_abort: Final[Any] = lib.pn_delivery_abort
delivery_aborted: Final[Any] = lib.pn_delivery_aborted
delivery_link: Final[Any] = lib.pn_delivery_link
delivery_partial: Final[Any] = lib.pn_delivery_partial
delivery_pending: Final[Any] = lib.pn_delivery_pending
delivery_remote_state: Final[Any] = lib.pn_delivery_remote_state
delivery_settle: Final[Any] = lib.pn_delivery_settle
delivery_settled: Final[Any] = lib.pn_delivery_settled
delivery_tag: Final[Any] = lib.pn_delivery_tag
delivery_update: Final[Any] = lib.pn_delivery_update

LONGEST_TAG: Final[int] = 32
"""The most bytes of a delivery tag that AMQP allows. proton takes any number, and keeps it as long as the delivery."""

STATE_RECEIVED: Final[int] = lib.PN_RECEIVED
STATE_ACCEPTED: Final[int] = lib.PN_ACCEPTED
STATE_REJECTED: Final[int] = lib.PN_REJECTED
STATE_RELEASED: Final[int] = lib.PN_RELEASED
STATE_MODIFIED: Final[int] = lib.PN_MODIFIED

# -- links and sessions ----------------------------------------------------------------------------

link_advance: Final[Any] = lib.pn_link_advance
link_credit: Final[Any] = lib.pn_link_credit
link_current: Final[Any] = lib.pn_link_current
link_drain: Final[Any] = lib.pn_link_drain
link_drained: Final[Any] = lib.pn_link_drained
link_flow: Final[Any] = lib.pn_link_flow
link_get_drain: Final[Any] = lib.pn_link_get_drain
link_is_sender: Final[Any] = lib.pn_link_is_sender
link_queued: Final[Any] = lib.pn_link_queued
link_recv: Final[Any] = lib.pn_link_recv
link_send: Final[Any] = lib.pn_link_send
link_session: Final[Any] = lib.pn_link_session
session_outgoing_bytes: Final[Any] = lib.pn_session_outgoing_bytes
session_incoming_bytes: Final[Any] = lib.pn_session_incoming_bytes

SENDS_UNSETTLED: Final[int] = lib.PN_SND_UNSETTLED

# -- transports ------------------------------------------------------------------------------------

transport_push: Final[Any] = lib.pn_transport_push
transport_peek: Final[Any] = lib.pn_transport_peek
transport_pop: Final[Any] = lib.pn_transport_pop
transport_tick: Final[Any] = lib.pn_transport_tick
transport_pending: Final[Any] = lib.pn_transport_pending
transport_capacity: Final[Any] = lib.pn_transport_capacity

# -- the buffers that everything passes through ----------------------------------------------------

CHUNK: Final[int] = 1 << 17
"""Bytes moved from link to link at once: larger pieces spend their time turning proton's buffers."""
BUFFER: Final[Any] = ffi.new("char[]", CHUNK)
FILLED: Final[Any] = ffi.buffer(BUFFER)
"""The same, for taking bytes out of it: `FILLED[:count]`."""

OUTPUT: Final[int] = 1 << 16
"""Bytes taken from a transport for one write."""
OUTPUT_BUFFER: Final[Any] = ffi.new("char[]", OUTPUT)
OUTPUT_VIEW: Final[memoryview] = memoryview(ffi.buffer(OUTPUT_BUFFER))

# Delivery tags on outgoing links are a counter's eight bytes, in one struct for all of them: proton copies it.
TAG_COUNTER: Final = array("Q", [0])
_tag_bytes: Final[Any] = ffi.from_buffer(TAG_COUNTER)
_tag: Final[Any] = ffi.new("pn_delivery_tag_t *", {"size": 8, "start": _tag_bytes})
TAG: Final[Any] = _tag[0]
next_tag: Final = itertools.count(1).__next__


def offset(data: bytes, start: int) -> Any:
    """A pointer into `data`, valid as long as `data` is."""
    return ffi.from_buffer(data) + start


# -- making and freeing ----------------------------------------------------------------------------


FIRST_FRAME: Final[int] = 1 << 13
"""The largest frame accepted before Open."""


def new_connection(container: str, max_frame_size: int, max_sessions: int, idle_timeout: float) -> tuple[Any, Any, Any]:
    """The (transport, connection, collector) of a server's end, bound to each other."""
    transport = lib.pn_transport()
    connection = lib.pn_connection()
    collector = lib.pn_collector()
    lib.pn_connection_collect(connection, collector)
    lib.pn_connection_set_container(connection, container.encode())
    lib.pn_transport_set_server(transport)
    lib.pn_transport_set_max_frame(transport, min(max_frame_size, FIRST_FRAME))
    lib.pn_transport_set_channel_max(transport, max_sessions - 1)
    if idle_timeout:
        # proton announces half of it
        lib.pn_transport_set_idle_timeout(transport, int(idle_timeout * 1000))
    lib.pn_transport_bind(transport, connection)
    return transport, connection, collector


def free_connection(transport: Any, connection: Any, collector: Any) -> None:
    """The end of `new_connection`."""
    lib.pn_transport_unbind(transport)
    lib.pn_collector_free(collector)
    lib.pn_decref(transport)
    lib.pn_connection_release(connection)
    lib.pn_decref(connection)


transport_set_max_frame: Final[Any] = lib.pn_transport_set_max_frame
connection_open: Final[Any] = lib.pn_connection_open
connection_close: Final[Any] = lib.pn_connection_close
connection_condition: Final[Any] = lib.pn_connection_condition
session_open: Final[Any] = lib.pn_session_open
session_close: Final[Any] = lib.pn_session_close
session_free: Final[Any] = lib.pn_session_free
session_set_incoming_capacity: Final[Any] = lib.pn_session_set_incoming_capacity
link_open: Final[Any] = lib.pn_link_open
link_close: Final[Any] = lib.pn_link_close
link_detach: Final[Any] = lib.pn_link_detach
link_free: Final[Any] = lib.pn_link_free
link_condition: Final[Any] = lib.pn_link_condition
session_condition: Final[Any] = lib.pn_session_condition
transport_close_tail: Final[Any] = lib.pn_transport_close_tail
transport_frames_output: Final[Any] = lib.pn_transport_get_frames_output
link_set_max_message_size: Final[Any] = lib.pn_link_set_max_message_size


def remote_container(connection: Any) -> str:
    """The container id that the peer gave in Open."""
    return text_of(lib.pn_connection_remote_container(connection))


def remote_idle_timeout(transport: Any) -> int:
    """Milliseconds of silence the peer allows us; 0 for any."""
    return int(lib.pn_transport_get_remote_idle_timeout(transport))


def describe_connection(connection: Any, properties: dict[str, str], capabilities: list[str]) -> None:
    """Put properties and offered capabilities into our Open."""
    put_map(lib.pn_connection_properties(connection), properties)
    put_symbols(lib.pn_connection_offered_capabilities(connection), capabilities)


# -- links -----------------------------------------------------------------------------------------

TERMINUS_NONE: Final[int] = lib.PN_UNSPECIFIED
TERMINUS_COORDINATOR: Final[int] = lib.PN_COORDINATOR
KEEPS_ITSELF: Final[int] = lib.PN_CONFIGURATION
KEEPS_DELIVERIES: Final[int] = lib.PN_DELIVERIES
EXPIRES_WITH_LINK: Final[int] = lib.PN_EXPIRE_WITH_LINK
EXPIRES_NEVER: Final[int] = lib.PN_EXPIRE_NEVER
MOVES: Final[int] = lib.PN_DIST_MODE_MOVE

link_source: Final[Any] = lib.pn_link_source
link_remote_source: Final[Any] = lib.pn_link_remote_source
link_target: Final[Any] = lib.pn_link_target
link_remote_target: Final[Any] = lib.pn_link_remote_target
terminus_copy: Final[Any] = lib.pn_terminus_copy
terminus_type: Final[Any] = lib.pn_terminus_get_type
terminus_set_type: Final[Any] = lib.pn_terminus_set_type
terminus_raw_address: Final[Any] = lib.pn_terminus_get_address
terminus_set_address: Final[Any] = lib.pn_terminus_set_address
terminus_is_dynamic: Final[Any] = lib.pn_terminus_is_dynamic
terminus_set_dynamic: Final[Any] = lib.pn_terminus_set_dynamic
terminus_durability: Final[Any] = lib.pn_terminus_get_durability
terminus_expiry_policy: Final[Any] = lib.pn_terminus_get_expiry_policy
terminus_set_expiry_policy: Final[Any] = lib.pn_terminus_set_expiry_policy
terminus_distribution: Final[Any] = lib.pn_terminus_get_distribution_mode
terminus_set_distribution: Final[Any] = lib.pn_terminus_set_distribution_mode
terminus_outcomes: Final[Any] = lib.pn_terminus_outcomes
terminus_properties: Final[Any] = lib.pn_terminus_properties


def link_name(link: Any) -> str:
    """The name the peer gave the link."""
    return text_of(lib.pn_link_name(link))


def terminus_address(terminus: Any) -> str | None:
    """The address, None where there is none."""
    address = terminus_raw_address(terminus)
    return None if address == NULL else text_of(address)


def adopt_settle_modes(link: Any) -> int:
    """Settle the way the peer wants to; returns the sender's mode it asked for. A consumer can be promised none: each
    message's producer decides whether it is settled."""
    mode = int(lib.pn_link_remote_snd_settle_mode(link))
    lib.pn_link_set_snd_settle_mode(link, lib.PN_SND_MIXED if lib.pn_link_is_sender(link) else mode)
    lib.pn_link_set_rcv_settle_mode(link, lib.pn_link_remote_rcv_settle_mode(link))
    return mode


def remote_link_properties(link: Any) -> dict[str, object]:
    """The scalars among the link properties of the peer's attach; nested values are left out."""
    data = lib.pn_link_remote_properties(link)
    return {} if data == NULL else read_map(data)


VALUES_LIMIT: Final[int] = 256
"""The most values that an attach or a state of a delivery may have where they are looked at. Of each, proton makes 72
bytes when it is asked for them, and keeps those; an array of 65,000 nulls is ten bytes long, and one frame can say it
of all deliveries."""


def link_says_too_much(link: Any) -> bool:
    """Whether the peer's attach has more values than are looked at."""
    read = [lib.pn_link_remote_properties(link)]
    if link_is_sender(link):
        read.append(terminus_outcomes(link_remote_source(link)))
    return any(data != NULL and _is_too_much(data) for data in read)


def state_says_too_much(delivery: Any, state: int) -> bool:
    """Whether the peer's state of a delivery has more values than are looked at."""
    remote = lib.pn_delivery_remote(delivery)
    if state in _PLAIN_STATES:
        return False
    if state == STATE_REJECTED:
        return _is_too_much(lib.pn_condition_info(lib.pn_disposition_condition(remote)))
    if state == STATE_MODIFIED:
        return _is_too_much(lib.pn_disposition_annotations(remote))
    return _is_too_much(lib.pn_disposition_data(remote))


_PLAIN_STATES: Final = (0, STATE_RECEIVED, STATE_ACCEPTED, STATE_RELEASED)


def _is_too_much(data: Any) -> bool:
    return extent(data, VALUES_LIMIT, VALUES_LIMIT)[0] > VALUES_LIMIT


# -- conditions and outcomes -----------------------------------------------------------------------


def set_condition(condition: Any, name: str, description: str) -> None:
    """Say what was wrong: `name` is a symbol for programs, `description` is for people."""
    lib.pn_condition_set_name(condition, name.encode())
    lib.pn_condition_set_description(condition, description.encode())


def transport_error(transport: Any) -> str:
    """What proton says ended the transport; empty if nothing did."""
    condition = lib.pn_transport_condition(transport)
    if not lib.pn_condition_is_set(condition):
        return ""
    return f"{text_of(lib.pn_condition_get_name(condition))}: {text_of(lib.pn_condition_get_description(condition))}"


def modified_flags(delivery: Any) -> tuple[bool, bool]:
    """The peer's (delivery-failed, undeliverable-here)."""
    remote = lib.pn_delivery_remote(delivery)
    return bool(lib.pn_disposition_is_failed(remote)), bool(lib.pn_disposition_is_undeliverable(remote))


def update_rejected(delivery: Any, name: str, description: str) -> None:
    """Say REJECTED, for a reason of the router's."""
    set_condition(lib.pn_disposition_condition(lib.pn_delivery_local(delivery)), name, description)
    delivery_update(delivery, STATE_REJECTED)


def update_modified(delivery: Any, failed: bool, undeliverable: bool) -> None:
    """Say MODIFIED, with its flags."""
    local = lib.pn_delivery_local(delivery)
    lib.pn_disposition_set_failed(local, failed)
    lib.pn_disposition_set_undeliverable(local, undeliverable)
    delivery_update(delivery, STATE_MODIFIED)


def copy_state(source: Any, state: int, target: Any) -> None:
    """Say of `target` what the peer said of `source`: its state with its fields."""
    copy_fields(source, state, target)
    delivery_update(target, state)


FIELDS_LIMIT: Final[int] = 4_096
"""The most bytes of a state's fields that are said on, and of each text in it. A client that is told of it must be able
to take it in: a disposition cannot be sent in pieces."""
NESTING_LIMIT: Final[int] = 16
"""How deep they may be nested: the libraries of clients decode by recursion."""
_REST_OF_FRAME: Final[int] = 256


def copy_fields(source: Any, state: int, target: Any) -> None:
    """Put the fields of what the peer said of `source` on `target`, without saying it yet; as far as who is told can
    be expected to bear them."""
    if state != STATE_ACCEPTED and state != STATE_RELEASED:
        remote = lib.pn_delivery_remote(source)
        local = lib.pn_delivery_local(target)
        room = _room(target)
        if state == STATE_REJECTED:
            _copy_condition(lib.pn_disposition_condition(remote), lib.pn_disposition_condition(local), room)
        elif state == STATE_MODIFIED:
            lib.pn_disposition_set_failed(local, lib.pn_disposition_is_failed(remote))
            lib.pn_disposition_set_undeliverable(local, lib.pn_disposition_is_undeliverable(remote))
            _copy_map(lib.pn_disposition_annotations(remote), lib.pn_disposition_annotations(local), room)
        elif state == STATE_RECEIVED:
            lib.pn_disposition_set_section_number(local, lib.pn_disposition_get_section_number(remote))
            lib.pn_disposition_set_section_offset(local, lib.pn_disposition_get_section_offset(remote))
        else:
            _copy_data(lib.pn_disposition_data(remote), lib.pn_disposition_data(local), room)


def _room(delivery: Any) -> int:
    """Bytes of a state's fields that whoever is told of the delivery can take in."""
    connection = lib.pn_session_connection(link_session(delivery_link(delivery)))
    largest = int(lib.pn_transport_get_remote_max_frame(lib.pn_connection_transport(connection)))
    return min(FIELDS_LIMIT, max(largest - _REST_OF_FRAME, 0)) if largest else FIELDS_LIMIT


def _copy_data(source: Any, target: Any, room: int) -> int:
    """Copy a value that fits, and is not nested too deep. Returns how much room is left."""
    size = int(lib.pn_data_encoded_size(source))
    if 0 < size <= room and extent(source, VALUES_LIMIT, NESTING_LIMIT)[1] <= NESTING_LIMIT:
        lib.pn_data_copy(target, source)
        return room - size
    return room


def _copy_map(source: Any, target: Any, room: int) -> None:
    """Copy it if it is what has to be there: libraries of clients rely on that."""
    if is_map(source):
        _copy_data(source, target, room)


def _copy_condition(source: Any, target: Any, room: int) -> None:
    if not lib.pn_condition_is_set(source):
        return
    name = ffi.string(lib.pn_condition_get_name(source))
    if len(name) > room:
        return
    lib.pn_condition_set_name(target, name)
    room -= len(name)
    description = lib.pn_condition_get_description(source)
    if description != NULL:
        text = ffi.string(description, room)
        lib.pn_condition_set_description(target, text.decode("utf-8", "ignore").encode())
        room -= len(text)
    _copy_map(lib.pn_condition_info(source), lib.pn_condition_info(target), room)
