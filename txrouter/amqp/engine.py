"""proton's C binding: the only module that touches it, and the rules for using it safely.

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
- Names, tags, properties and conditions come from the peer: they are read only by the functions below, which decode
  leniently, copy what they return, and look no deeper than they say.
- proton sees neither SASL nor TLS.

The functions are bound to short names once: the hot path calls some fifteen of them for a message.
"""

from __future__ import annotations

import itertools
import math
from array import array
from typing import Any, Final

from cproton_ffi import ffi, lib

lib.init()

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
delivery_update: Final[Any] = lib.pn_delivery_update

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

SENDS_UNSETTLED: Final[int] = lib.PN_SND_UNSETTLED

# -- transports ------------------------------------------------------------------------------------

transport_push: Final[Any] = lib.pn_transport_push
transport_peek: Final[Any] = lib.pn_transport_peek
transport_pop: Final[Any] = lib.pn_transport_pop
transport_tick: Final[Any] = lib.pn_transport_tick
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
link_set_max_message_size: Final[Any] = lib.pn_link_set_max_message_size


def remote_container(connection: Any) -> str:
    """The container id that the peer gave in Open."""
    return _text(lib.pn_connection_remote_container(connection))


def remote_idle_timeout(transport: Any) -> int:
    """Milliseconds of silence the peer allows us; 0 for any."""
    return int(lib.pn_transport_get_remote_idle_timeout(transport))


def describe_connection(connection: Any, properties: dict[str, str], capabilities: list[str]) -> None:
    """Put properties and offered capabilities into our Open."""
    _put_map(lib.pn_connection_properties(connection), properties)
    _put_symbols(lib.pn_connection_offered_capabilities(connection), capabilities)


# -- links -----------------------------------------------------------------------------------------

TERMINUS_NONE: Final[int] = lib.PN_UNSPECIFIED
TERMINUS_COORDINATOR: Final[int] = lib.PN_COORDINATOR


def link_name(link: Any) -> str:
    """The name the peer gave the link."""
    return _text(lib.pn_link_name(link))


def remote_address(link: Any) -> tuple[int, str | None, bool]:
    """The (type, address, dynamic) of the terminus that names the node: the source of a consumer's link, the target of
    a producer's. The address is None where there is none."""
    sender = lib.pn_link_is_sender(link)
    terminus = lib.pn_link_remote_source(link) if sender else lib.pn_link_remote_target(link)
    address = lib.pn_terminus_get_address(terminus)
    return (
        lib.pn_terminus_get_type(terminus),
        None if address == NULL else _text(address),
        bool(lib.pn_terminus_is_dynamic(terminus)),
    )


def accept_termini(link: Any) -> None:
    """Answer an attach with the peer's own source and target, less what the router does not do: filters, durability."""
    for ours, theirs in (
        (lib.pn_link_source(link), lib.pn_link_remote_source(link)),
        (lib.pn_link_target(link), lib.pn_link_remote_target(link)),
    ):
        lib.pn_terminus_copy(ours, theirs)
        lib.pn_data_clear(lib.pn_terminus_filter(ours))
        lib.pn_terminus_set_durability(ours, lib.PN_NONDURABLE)


def refuse_terminus(link: Any) -> None:
    """Answer an attach with no node: a null source for a consumer, a null target for a producer. A detach follows."""
    if lib.pn_link_is_sender(link):
        lib.pn_terminus_copy(lib.pn_link_target(link), lib.pn_link_remote_target(link))
        lib.pn_terminus_set_type(lib.pn_link_source(link), lib.PN_UNSPECIFIED)
    else:
        lib.pn_terminus_copy(lib.pn_link_source(link), lib.pn_link_remote_source(link))
        lib.pn_terminus_set_type(lib.pn_link_target(link), lib.PN_UNSPECIFIED)


def set_dynamic_address(link: Any, address: str) -> None:
    """Tell the peer the address that was made for it."""
    terminus = lib.pn_link_source(link) if lib.pn_link_is_sender(link) else lib.pn_link_target(link)
    lib.pn_terminus_set_dynamic(terminus, True)
    lib.pn_terminus_set_address(terminus, address.encode())


def adopt_settle_modes(link: Any) -> int:
    """Settle the way the peer wants to; returns the sender's mode it asked for."""
    mode = int(lib.pn_link_remote_snd_settle_mode(link))
    lib.pn_link_set_snd_settle_mode(link, mode)
    lib.pn_link_set_rcv_settle_mode(link, lib.pn_link_remote_rcv_settle_mode(link))
    return mode


def remote_link_properties(link: Any) -> dict[str, object]:
    """The scalars among the link properties of the peer's attach; nested values are left out."""
    data = lib.pn_link_remote_properties(link)
    return {} if data == NULL else _read_map(data)


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
    return f"{_text(lib.pn_condition_get_name(condition))}: {_text(lib.pn_condition_get_description(condition))}"


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
    """Say of `target` what the peer said of `source`: its state with every field."""
    copy_fields(source, state, target)
    delivery_update(target, state)


def copy_fields(source: Any, state: int, target: Any) -> None:
    """Put every field of what the peer said of `source` on `target`, without saying it yet."""
    if state != STATE_ACCEPTED and state != STATE_RELEASED:
        remote = lib.pn_delivery_remote(source)
        local = lib.pn_delivery_local(target)
        if state == STATE_REJECTED:
            _copy_condition(lib.pn_disposition_condition(remote), lib.pn_disposition_condition(local))
        elif state == STATE_MODIFIED:
            lib.pn_disposition_set_failed(local, lib.pn_disposition_is_failed(remote))
            lib.pn_disposition_set_undeliverable(local, lib.pn_disposition_is_undeliverable(remote))
            lib.pn_data_copy(lib.pn_disposition_annotations(local), lib.pn_disposition_annotations(remote))
        elif state == STATE_RECEIVED:
            lib.pn_disposition_set_section_number(local, lib.pn_disposition_get_section_number(remote))
            lib.pn_disposition_set_section_offset(local, lib.pn_disposition_get_section_offset(remote))
        else:
            lib.pn_data_copy(lib.pn_disposition_data(local), lib.pn_disposition_data(remote))


def _copy_condition(source: Any, target: Any) -> None:
    if not lib.pn_condition_is_set(source):
        return
    lib.pn_condition_set_name(target, lib.pn_condition_get_name(source))
    description = lib.pn_condition_get_description(source)
    if description != NULL:
        lib.pn_condition_set_description(target, description)
    lib.pn_data_copy(lib.pn_condition_info(target), lib.pn_condition_info(source))


# -- proton's data ---------------------------------------------------------------------------------


def _text(string: Any) -> str:
    return "" if string == NULL else ffi.string(string).decode("utf-8", "replace")


def _bytes(value: Any) -> bytes:
    # proton's memory is only lent: copy
    return bytes(ffi.buffer(value.start, value.size)) if value.size else b""


def _borrowed(data: bytes) -> tuple[Any, Any]:
    pointer = ffi.from_buffer(data)
    value = ffi.new("pn_bytes_t *")
    value.size, value.start = len(data), pointer
    return value[0], pointer  # the caller keeps the pointer alive while proton copies


def _put_symbols(data: Any, symbols: list[str]) -> None:
    lib.pn_data_put_array(data, False, lib.PN_SYMBOL)
    lib.pn_data_enter(data)
    for symbol in symbols:
        value, _alive = _borrowed(symbol.encode())
        lib.pn_data_put_symbol(data, value)
    lib.pn_data_exit(data)


def _put_map(data: Any, entries: dict[str, str]) -> None:
    lib.pn_data_put_map(data)
    lib.pn_data_enter(data)
    for key, text in entries.items():
        value, _alive = _borrowed(key.encode())
        lib.pn_data_put_symbol(data, value)
        value, _alive = _borrowed(text.encode())
        lib.pn_data_put_string(data, value)
    lib.pn_data_exit(data)


def _read_map(data: Any) -> dict[str, object]:
    found: dict[str, object] = {}
    lib.pn_data_rewind(data)
    if not lib.pn_data_next(data) or lib.pn_data_type(data) != lib.PN_MAP:
        return found
    lib.pn_data_enter(data)
    while lib.pn_data_next(data):
        key = _scalar(data)
        if not lib.pn_data_next(data):
            break
        value = _scalar(data)
        if isinstance(key, str) and value is not None:
            found[key] = value
    lib.pn_data_exit(data)
    return found


_INTEGERS: Final[dict[int, Any]] = {
    lib.PN_UBYTE: lib.pn_data_get_ubyte,
    lib.PN_BYTE: lib.pn_data_get_byte,
    lib.PN_USHORT: lib.pn_data_get_ushort,
    lib.PN_SHORT: lib.pn_data_get_short,
    lib.PN_UINT: lib.pn_data_get_uint,
    lib.PN_INT: lib.pn_data_get_int,
    lib.PN_ULONG: lib.pn_data_get_ulong,
    lib.PN_LONG: lib.pn_data_get_long,
    lib.PN_TIMESTAMP: lib.pn_data_get_timestamp,
}


def _scalar(data: Any) -> object:
    kind = lib.pn_data_type(data)
    if kind == lib.PN_STRING:
        return _bytes(lib.pn_data_get_string(data)).decode("utf-8", "replace")
    if kind == lib.PN_SYMBOL:
        return _bytes(lib.pn_data_get_symbol(data)).decode("ascii", "replace")
    if kind == lib.PN_BOOL:
        return bool(lib.pn_data_get_bool(data))
    if kind in _INTEGERS:
        return int(_INTEGERS[kind](data))
    if kind == lib.PN_FLOAT or kind == lib.PN_DOUBLE:
        number = float(lib.pn_data_get_double(data) if kind == lib.PN_DOUBLE else lib.pn_data_get_float(data))
        return number if math.isfinite(number) else None
    if kind == lib.PN_BINARY:
        return _bytes(lib.pn_data_get_binary(data))
    return None
