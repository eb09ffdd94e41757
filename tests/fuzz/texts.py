"""What is fuzzed of what people write: configs, password files, addresses, and who may use them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from zlib import crc32

from txrouter.amqp.mechanisms import ScramKeys
from txrouter.client.server import parse_server, split_address
from txrouter.config import Config, ConfigError, _read
from txrouter.core.access import Rule, Rules
from txrouter.core.addresses import MAX_LENGTH, AddressTable, Distribution, is_temporary, normalise, tokens
from txrouter.core.capacity_rules import CapacityRule, Matcher
from txrouter.core.links import Consumer
from txrouter.net.passwords import _quoted
from txrouter.net.passwords import _read as read_passwords
from txrouter.policies import pull

__all__ = ["access", "address", "config", "passwords", "server"]

# -- configs -----------------------------------------------------------------------------------------------------------


@cache
def _directory() -> Path:
    """Where the config is, and the files that one may name."""
    made = tempfile.TemporaryDirectory(prefix="txrouter-fuzz-")
    _KEPT.append(made)
    directory = Path(made.name)
    (directory / "garbage").write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff\0\n")
    (directory / "users").write_text("alice:pencil\n")
    return directory


_KEPT: Final[list[tempfile.TemporaryDirectory[str]]] = []
_FILES: Final = ("garbage", "users", "none", ".")
_AUTH: Final = ("memory:alice:pencil", "memory:alice", "anonymous", "none:", "env:", "file:{}")
_POLICIES: Final = ("txrouter.policies.pull:factory", "txrouter.policies.pull:nothing", "json:dumps", "no.such:thing")
_NAMES_FILES: Final = {"certificate", "client_ca", "passwords", "private_key"}
_ENDPOINTS: Final = ("tcp:", "tcp6:", "unix:", "systemd:", "haproxy:tcp:", "haproxy:unix:")


def _one_of(choices: tuple[str, ...], text: str) -> str:
    return choices[crc32(text.encode()) % len(choices)]


def _tamed(value: object, key: str = "") -> object:
    """A config like this one, whose files are ours and whose modules may be imported: a fuzzer would name any."""
    if isinstance(value, dict):
        return {each: _tamed(inner, each) for each, inner in value.items()}
    if isinstance(value, list):
        return [_tamed(each, key) for each in value]
    if not isinstance(value, str):
        return value
    if key in _NAMES_FILES:
        return str(_directory() / _one_of(_FILES, value))
    if key == "auth":
        return _one_of(_AUTH, value).format(_directory() / _one_of(_FILES, value))
    if key in ("distribution", "default_distribution") and ":" in value:
        return _one_of(_POLICIES, value)
    if key == "endpoint" and not value.startswith(_ENDPOINTS):
        return value.replace(":", ";")
    return value


def config(data: bytes) -> None:
    """A config file."""
    file = _directory() / "router.toml"
    file.write_bytes(data)
    try:
        given: Any = _tamed(_read(file))
        found = Config.from_dict(given)
    except ConfigError as error:
        problems = error.problems
    else:
        _use(found)
        return
    assert problems
    assert all(problem.isprintable() and ": " in problem for problem in problems), problems


def _use(found: Config) -> None:
    found.table()
    rules = found.rules().of("alice", 0)
    assert rules is None or rules.decide("send", "x").why
    for rule in found.capacities():
        _see_who_is_asked(rule)


def _see_who_is_asked(rule: CapacityRule) -> None:
    """A client asks for what it may not, by all that it says; it gets no other host than is configured."""
    for said in ("http://elsewhere/", "http://192.0.2.7@elsewhere/", "http://192.0.2.7/", 5):
        consumer = Consumer("1", "@elsewhere/..", {"health-url": said})
        Matcher(rule).matches(consumer)
        try:
            target = rule.target(consumer)
        except ValueError:
            continue
        configured = "".join([rule.url or "", *rule.client_urls]).lower()
        assert target is None or (urlsplit(target.url).hostname or "") in configured


# -- password files ----------------------------------------------------------------------------------------------------


def passwords(data: bytes) -> None:
    """A password file: what is read of it means the same when it is written again."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        return
    contents = read_passwords(lines)
    assert set(contents.wrong) <= set(range(1, len(lines) + 1))
    for secret in contents.users.values():
        assert all(isinstance(keys, ScramKeys) for keys in secret.keys.values())
    again = read_passwords(f"{_quoted(user)} {secret}" for user, secret in contents.users.items())
    assert again.users == contents.users
    assert not again.wrong


# -- addresses ---------------------------------------------------------------------------------------------------------


def _matches(pattern: list[str], path: list[str]) -> bool:
    """As the definition of patterns has it, and slowly."""
    reached = {0}
    for token in pattern:
        if token == "#":
            reached = set(range(min(reached, default=len(path) + 1), len(path) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(path) and token in ("*", path[at])}
    return len(path) in reached


def address(data: bytes) -> None:
    """A pattern and an address, on a line each."""
    try:
        pattern, _, name = data.decode().partition("\n")
    except UnicodeDecodeError:
        return
    table = AddressTable(Distribution(pull.factory, None))
    found = Distribution(pull.factory, "found")
    try:
        path = normalise(name)
        table.add_pattern(pattern, found)
    except ValueError:
        return
    assert len(path) <= MAX_LENGTH
    assert (table.find(path) is found) == _matches(tokens(normalise(pattern)), tokens(path))


def access(data: bytes) -> None:
    """A user, another one, a pattern of a rule, and an address, on a line each."""
    try:
        user, other, pattern, name = (data.decode().split("\n", 3) + [""] * 3)[:4]
        rules = Rules([Rule(("*",), send=(pattern,), receive=(pattern,))])
        path = normalise(name)
    except ValueError:
        return
    allowed = {each: _may("receive", rules, each, path) for each in (user, other)}
    wanted = tokens(normalise(pattern))
    behind = path.split("/", 3)
    here = path
    if behind[:2] == ["_topo", "0"] and len(behind) == 4 and behind[2] and behind[3]:
        here = behind[3]
    for each in (user, other):
        own = "".join(f"%{ord(letter):02X}" if letter in "%/.*#" else letter for letter in each)
        parts = [f"={own}" if part == "${user}" else part if part in ("*", "#") else f"={part}" for part in wanted]
        assert allowed[each] == _matches(parts, [f"={part}" for part in tokens(here)]), each
        assert _may("send", rules, each, path) == (allowed[each] or is_temporary(here))
    if "${user}" in wanted and not {"*", "#"} & set(wanted) and user != other:
        assert not all(allowed.values()), "one has what is another's"


def _may(action: Literal["send", "receive"], rules: Rules, user: str, path: str) -> bool:
    decided = rules.of(user, 0)
    assert decided is not None
    return decided.decide(action, path).allowed


def server(data: bytes) -> None:
    """A server, or a URL with an address, as it is given to `txrouter send`."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    for parse in (parse_server, lambda text: split_address(text)[0]):
        try:
            found = parse(text)
        except ValueError:
            continue
        if found is not None and found.path is None:
            assert found.host
            assert 0 < found.port <= 65_535
            again = parse_server(f"amqp{'s' * found.tls}://{found}")
            assert (again.host, again.port, again.tls) == (found.host, found.port, found.tls)
