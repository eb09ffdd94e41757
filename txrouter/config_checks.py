"""The checks that a config's tables need beyond their types, and the words for what is wrong.

Whatever a validator here raises becomes a problem of its place in the config; none of them opens or starts anything.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import os
import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidationInfo
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from twisted.internet.endpoints import serverFromString
from zope.interface.verify import verifyObject

from txrouter.core.addresses import AddressTable, Distribution
from txrouter.interfaces import IDistributionPolicy, IDistributionPolicyFactory, IMulticast
from txrouter.net.tls import check_settings, without_tls
from txrouter.registry import Registry

__all__ = [
    "UNDECIDED",
    "Context",
    "PolicyName",
    "PolicyOptions",
    "Table",
    "check_endpoint",
    "path_of",
    "printable",
    "problem",
    "read_toml",
    "sentence",
    "unknown",
]

UNDECIDED = Distribution(None, None)
"""Stands for the distribution of an address while only its name is looked at."""


class Table(BaseModel):
    """A table of a config: as strict as TOML is, and without a key that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a TOML file says.

    :raise ValueError: it cannot be read, or is wrong. Where, is said first, as in every other problem.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot be read: byte {error.start} is not UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).rpartition(" (at ")  # "Expected … (at line 3, column 5)"
        if where.startswith("end of"):
            where = f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
        raise ValueError(f"{where.removesuffix(')')}: {what}") from error
    except RecursionError:
        raise ValueError("cannot be read: it is nested too deep") from None
    except ValueError:
        raise ValueError("cannot be read: a number has too many digits") from None


@dataclasses.dataclass
class Context:
    """What a config is checked against: the policies there are, and the addresses it has named so far."""

    registry: Registry
    addresses: AddressTable

    @classmethod
    def new(cls, registry: Registry | None = None) -> Self:
        """A context for one config."""
        return cls(registry or Registry(), AddressTable(UNDECIDED))

    @classmethod
    def of(cls, info: ValidationInfo) -> Self:
        """The context of the config that is being validated."""
        context: Self | None = info.context
        return context or cls.new()


class _NeedsReactorError(Exception):
    """An endpoint wants a reactor while its string is parsed."""


class _NoReactor:
    """Stands where a reactor belongs, so that a config can be checked before, and without, one being installed."""

    def __getattr__(self, name: str) -> object:
        raise _NeedsReactorError


def check_endpoint(endpoint: str) -> None:
    """Parse `endpoint` without opening anything. What only a running router can know is left to it.

    :raise ValueError: it is malformed, of an unknown type, or names files that cannot be read.
    """
    try:
        transport, tls = without_tls(endpoint)
        if re.match("haproxy:(ssl|tls):", transport, re.IGNORECASE):
            raise ValueError("TLS begins after HAProxy's protocol; give a listener on haproxy:tcp:… a certificate")
        parsed = serverFromString(_NoReactor(), transport)
    except _NeedsReactorError:
        return
    except OSError as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from error
    except Exception as error:
        if isinstance(error, LookupError) and endpoint.startswith("systemd:"):
            return  # the socket is there only when systemd starts the router
        reason = re.sub(r"^[\w.<>]+\(\) ", "", str(error))  # Twisted's parsers are functions; theirs is not our name
        raise ValueError(f"{endpoint!r} is no server endpoint: {reason}") from error
    if not 0 <= getattr(parsed, "_port", 0) <= 65_535:
        raise ValueError(f"{endpoint!r} is no server endpoint: ports end at 65535")
    if tls is not None:
        check_settings(tls)


def _validated(kind: Any, given: object) -> object:
    """An instance of the options dataclass `kind`.

    :raise ValidationError: with every key that is unknown, missing or wrong.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ValueError("must be a table")
    known = _known(kind)
    wrong = [problem(place, said) for place, said in _unknown_keys(kind, given)]
    try:
        # in its JSON mode pydantic is as strict as TOML is, and takes an array for a tuple and a string for an enum
        text = json.dumps({key: value for key, value in given.items() if key in known}, default=str)
        options = _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        wrong += [problem(line["loc"], sentence(line)) for line in error.errors()]
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise ValueError(f"the policy's own options are of no use: {error.message}") from error
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if wrong:
        raise ValidationError.from_exception_data("options", wrong)
    return options


@functools.lru_cache(256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """To make one takes a hundred times as long as to use it, and most addresses have the options of another."""
    return TypeAdapter(kind)


def _known(kind: Any) -> dict[str, Any]:
    """The options of a dataclass, and their types."""
    return {field.name: field.type for field in dataclasses.fields(kind) if field.init}


def _unknown_keys(kind: Any, given: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is none of its options, also in the tables of wrappers."""
    known = _known(kind)
    for key, value in given.items():
        if key not in known:
            yield (key,), unknown(key, list(known))
        elif dataclasses.is_dataclass(known[key]) and isinstance(value, Mapping):
            yield from (((key, *place), said) for place, said in _unknown_keys(known[key], value))


def _try_to_build(factory: IDistributionPolicyFactory, options: object) -> None:
    """:raise ValueError: no policy comes of these options."""
    try:
        built = factory.build(options, random.Random(0))
        verifyObject(IMulticast if IMulticast.providedBy(built) else IDistributionPolicy, built)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"the policy cannot be built: {type(error).__name__}: {error}") from error


def _policy_name(name: str, info: ValidationInfo) -> str:
    Context.of(info).registry.factory(name)
    return name


def _policy_options(given: object, info: ValidationInfo) -> object:
    """The options of the policy that the field before this one names, as that policy will get them."""
    name = info.data.get("distribution", info.data.get("default_distribution"))
    if name is None:  # which is reported already
        return given
    factory = Context.of(info).registry.factory(name)
    options = _validated(factory.options, given)
    try:
        _try_to_build(factory, options)
    except ValueError as error:
        where, colon, what = str(error).partition(": ")
        place = where.split(".")
        if not colon or place[0] not in {field.name for field in dataclasses.fields(factory.options)}:
            raise
        raise ValidationError.from_exception_data("options", [problem(tuple(place), what)]) from error
    return options


PolicyName = Annotated[str, AfterValidator(_policy_name)]
"""The name of a policy that can be used."""
PolicyOptions = Annotated[Any, AfterValidator(_policy_options)]
"""A table of options, which becomes an instance of the options dataclass of the policy that the field before names."""

_TABLE = "must be a table"
_ARRAY = "must be an array"
_SENTENCES = {
    "missing": "is missing",
    "model_type": _TABLE,
    "dataclass_type": _TABLE,
    "tuple_type": _ARRAY,
    "list_type": _ARRAY,
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}


def sentence(error: ErrorDetails, known: Sequence[str] = ()) -> str:
    """What is wrong, without its place. :param known: the keys of the table it is in."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return " ".join(str(context["error"]).split())
    if kind == "extra_forbidden":
        return unknown(str(error["loc"][-1]), known)
    if kind not in _SENTENCES:
        return error["msg"]
    said = re.sub(r"\.0$", "", _SENTENCES[kind].format(**context))
    if kind.endswith("_type") and isinstance(error["input"], str | int | float):
        return f"{said}, not {_shown(error['input'])}"
    return said


def _shown(value: str | float) -> str:
    try:
        return json.dumps(value)[:80]
    except ValueError:
        return "a number with too many digits"


def printable(text: str) -> str:
    """A text for people, who may have written anything: what could be mistaken for the end of a line, or obeyed by a
    terminal, is escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def unknown(key: str, known: Sequence[str]) -> str:
    """What is said of a key that is none of those that are known."""
    close = difflib.get_close_matches(key, known, 1)
    if close:
        return f"is unknown; did you mean {close[0]!r}?"
    return f"is unknown; there are: {', '.join(known)}" if known else "is unknown; there are no options"


def path_of(place: tuple[int | str, ...]) -> str:
    """A place in a config as people write it: `address[2].options.capacity`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def problem(place: tuple[int | str, ...], said: str) -> InitErrorDetails:
    """A problem at a place below the one that is being validated, for a `ValidationError`."""
    return InitErrorDetails(type=PydanticCustomError("option", "{said}", {"said": said}), loc=place, input=None)
