"""Values that peers send in proton's `pn_data_t`: names, properties, capabilities. Read leniently, and copied.

They may be anything, and what proton lends is freed with what it came in. So is what is borrowed here for it to copy.
"""

from __future__ import annotations

import math
from typing import Any, Final

from cproton_ffi import ffi, lib

__all__ = ["extent", "put_lifetime", "put_map", "put_symbols", "read_map", "read_symbols", "text_of"]

NULL: Final[Any] = ffi.NULL


def text_of(string: Any) -> str:
    return "" if string == NULL else ffi.string(string).decode("utf-8", "replace")


def _copied(value: Any) -> bytes:
    # proton's memory is only lent: copy
    return bytes(ffi.buffer(value.start, value.size)) if value.size else b""


def _borrowed(data: bytes) -> tuple[Any, Any]:
    pointer = ffi.from_buffer(data)
    value = ffi.new("pn_bytes_t *")
    value.size, value.start = len(data), pointer
    return value[0], pointer  # the caller keeps the pointer alive while proton copies


def put_symbols(data: Any, symbols: list[str]) -> None:
    """Put an array of symbols."""
    lib.pn_data_put_array(data, False, lib.PN_SYMBOL)
    lib.pn_data_enter(data)
    for symbol in symbols:
        value, _alive = _borrowed(symbol.encode())
        lib.pn_data_put_symbol(data, value)
    lib.pn_data_exit(data)


def read_symbols(data: Any) -> list[str]:
    """A symbol, or the symbols of an array; none of anything else."""
    found: list[str] = []
    lib.pn_data_rewind(data)
    if lib.pn_data_next(data):
        if lib.pn_data_type(data) == lib.PN_ARRAY:
            lib.pn_data_enter(data)
            lib.pn_data_next(data)
        while lib.pn_data_type(data) == lib.PN_SYMBOL:
            found.append(str(_scalar(data)))
            if not lib.pn_data_next(data):
                break
    return found


_LIFETIME: Final[bytes] = b"lifetime-policy"
_DELETE_ON_CLOSE: Final[int] = 0x2B


def put_lifetime(data: Any) -> None:
    """Put the properties of a dynamic node: it goes with the link that it was made for."""
    value, _alive = _borrowed(_LIFETIME)
    lib.pn_data_put_map(data)
    lib.pn_data_enter(data)
    lib.pn_data_put_symbol(data, value)
    lib.pn_data_put_described(data)
    lib.pn_data_enter(data)
    lib.pn_data_put_ulong(data, _DELETE_ON_CLOSE)
    lib.pn_data_put_list(data)
    lib.pn_data_exit(data)
    lib.pn_data_exit(data)


def put_map(data: Any, entries: dict[str, str]) -> None:
    lib.pn_data_put_map(data)
    lib.pn_data_enter(data)
    for key, text in entries.items():
        value, _alive = _borrowed(key.encode())
        lib.pn_data_put_symbol(data, value)
        value, _alive = _borrowed(text.encode())
        lib.pn_data_put_string(data, value)
    lib.pn_data_exit(data)


def extent(data: Any, most: int, deepest: int) -> tuple[int, int]:
    """How many values there are, and how deep they are nested: as far as `most` and `deepest`, and one more."""
    count = nesting = depth = 0
    lib.pn_data_rewind(data)
    while count <= most and depth <= deepest:
        if lib.pn_data_next(data):
            count += 1
            if lib.pn_data_enter(data):
                depth += 1
                nesting = max(nesting, depth)
        elif depth:
            lib.pn_data_exit(data)
            depth -= 1
        else:
            break
    lib.pn_data_rewind(data)
    return count, nesting


def is_map(data: Any) -> bool:
    """Whether the value is a map."""
    lib.pn_data_rewind(data)
    found = bool(lib.pn_data_next(data)) and lib.pn_data_type(data) == lib.PN_MAP
    lib.pn_data_rewind(data)
    return found


def read_map(data: Any) -> dict[str, object]:
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
        return _copied(lib.pn_data_get_string(data)).decode("utf-8", "replace")
    if kind == lib.PN_SYMBOL:
        return _copied(lib.pn_data_get_symbol(data)).decode("ascii", "replace")
    if kind == lib.PN_BOOL:
        return bool(lib.pn_data_get_bool(data))
    if kind in _INTEGERS:
        return int(_INTEGERS[kind](data))
    if kind == lib.PN_FLOAT or kind == lib.PN_DOUBLE:
        number = float(lib.pn_data_get_double(data) if kind == lib.PN_DOUBLE else lib.pn_data_get_float(data))
        return number if math.isfinite(number) else None
    if kind == lib.PN_BINARY:
        return _copied(lib.pn_data_get_binary(data))
    return None
