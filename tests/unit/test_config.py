"""A config: what it may say, what it means, and that everything wrong with it is said at once, with its path."""

from __future__ import annotations

import dataclasses
import random
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError
from zope.interface import implementer

from txrouter.config import AccessRule, Address, Config, ConfigError, Listener, RouterTable
from txrouter.config_access import ForClients
from txrouter.config_capacity import CapacityTable
from txrouter.core.addresses import normalise
from txrouter.core.limits import Limits
from txrouter.interfaces import IConsumer, IDelivery, IDistributionPolicy, IDistributionPolicyFactory
from txrouter.policies import multicast, unavailable
from txrouter.registry import GROUP, Registry

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@implementer(IDistributionPolicy)
class Policy:
    def add(self, consumer: IConsumer) -> None: ...
    def remove(self, consumer: IConsumer) -> None: ...
    def select(self, delivery: IDelivery) -> IConsumer | None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    capacity: str = "credit"
    window: int = 1
    share: float = 1.0
    strict: bool = False
    order: Literal["first", "last"] = "first"
    steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.capacity == "none":
            raise ValueError("capacity must be something")


@dataclasses.dataclass(frozen=True)
class NeedyOptions:
    key: str


@dataclasses.dataclass(frozen=True)
class OddOptions:
    what: random.Random | None = None


@implementer(IDistributionPolicyFactory)
class Factory:
    summary = "for tests"

    def __init__(self, name: str, options: type = Options) -> None:
        self.name = name
        self.options = options

    def build(self, options: object, random: object) -> IDistributionPolicy:
        if getattr(options, "window", 1) == 13:
            raise ValueError("window and luck contradict each other")
        if getattr(options, "window", 1) == 14:
            raise KeyError("window")
        if getattr(options, "window", 1) == 15:
            raise ValueError("window: 15 is said to be unlucky: nobody knows why")
        return Policy()


class Impostor(Factory):
    def build(self, options: object, random: object) -> Any:
        return object()


pull = Factory("pull")
weighted = Factory("weighted")
needy = Factory("needy", NeedyOptions)
odd = Factory("odd", OddOptions)
impostor = Impostor("impostor")


@pytest.fixture
def registry() -> Registry:
    names = ("pull", "weighted", "needy", "odd", "impostor")
    return Registry([EntryPoint(name, f"{__name__}:{name}", GROUP) for name in names])


def problems(registry: Registry, data: dict[str, object], **command_line: Sequence[str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(data, registry=registry, **command_line)
    return list(caught.value.problems)


def address(**keys: object) -> dict[str, object]:
    return {"address": [{"pattern": "x", "distribution": "weighted", **keys}]}


def endpoint(text: object) -> dict[str, object]:
    return {"listener": [{"endpoint": text}]}


# ---- what a config means -------------------------------------------------------------------------------------------


def test_without_a_config_it_listens_on_loopback_and_every_address_is_pull(registry: Registry) -> None:
    config = Config.default(registry=registry)
    assert config.listener == (Listener(endpoint="tcp:5672:interface=127.0.0.1"),)
    assert config.listener[0].allow_bare is True
    assert config.router.id == socket.gethostname()
    assert config.router.stop_timeout == 10.0
    assert config.limits == Limits()
    assert config.table().find("anything.at/all").factory is pull


def test_addresses_get_the_policies_and_options_they_name(registry: Registry) -> None:
    config = Config.from_dict(
        {
            "router": {"default_distribution": "weighted", "default_options": {"share": 3}},
            "address": [
                {"pattern": "jobs.*", "distribution": "weighted", "options": {"capacity": "property:capacity"}},
                {"prefix": "news", "distribution": f"{__name__}:pull"},
            ],
        },
        registry=registry,
    )
    table = config.table()
    assert table.find("jobs.a").factory is weighted
    assert table.find("jobs.a").options == Options(capacity="property:capacity")
    assert table.find("news/today").factory is pull
    assert table.find("news").options == Options()
    assert table.find(normalise("/other")).options == Options(share=3.0)
    assert table.find("other").factory is weighted


def test_an_address_may_have_a_shadow(registry: Registry) -> None:
    shadow = {"distribution": "weighted", "options": {"window": 3}}
    config = Config.from_dict(address(distribution="pull", shadow=shadow), registry=registry)
    found = config.table().find("x")
    assert found.shadow is not None
    assert (found.factory, found.shadow.factory, found.shadow.options) == (pull, weighted, Options(window=3))
    assert Config.from_dict(address(), registry=registry).table().find("x").shadow is None


def test_an_integer_is_good_for_a_number_and_an_array_for_a_tuple(registry: Registry) -> None:
    config = Config.from_dict(address(options={"share": 2, "steps": [1, 2]}), registry=registry)
    assert config.address[0].options == Options(share=2.0, steps=(1, 2))


def test_a_program_may_give_the_options_themselves(registry: Registry) -> None:
    options = Options(share=5)
    config = Config.from_dict({**address(options=options), "limits": Limits(max_links=3)}, registry=registry)
    assert config.address[0].options is options
    assert config.limits == Limits(max_links=3)


def test_a_config_cannot_be_changed(registry: Registry) -> None:
    config = Config.default(registry=registry)
    with pytest.raises(ValidationError):
        config.router.id = "other"
    with pytest.raises(ValidationError):
        config.address = ()


def test_limits_are_those_of_the_core_unless_they_are_given(registry: Registry) -> None:
    config = Config.from_dict({"limits": {"idle_timeout": 0, "max_links": 7}}, registry=registry)
    assert config.limits == dataclasses.replace(Limits(), idle_timeout=0.0, max_links=7)
    assert isinstance(config.limits.idle_timeout, float)


def test_every_limit_of_the_core_can_be_configured(registry: Registry) -> None:
    limits = dataclasses.asdict(Limits())
    assert Config.from_dict({"limits": limits}, registry=registry).limits == Limits()


def test_the_command_line_replaces_the_default_listener_and_adds_to_those_of_a_file(registry: Registry) -> None:
    alone = Config.default(listen=["tcp:1", "tcp:2"], registry=registry)
    assert [listener.endpoint for listener in alone.listener] == ["tcp:1", "tcp:2"]
    added = Config.from_dict(endpoint("tcp:1"), listen=["tcp:2"], registry=registry)
    assert [listener.endpoint for listener in added.listener] == ["tcp:1", "tcp:2"]


def test_the_command_line_adds_addresses(registry: Registry) -> None:
    config = Config.from_dict(address(), distribution=["a=b.#=pull"], registry=registry)
    assert [(a.pattern, a.distribution) for a in config.address] == [("x", "weighted"), ("a=b.#", "pull")]


@pytest.mark.parametrize(
    "text",
    [
        "tcp:5672",
        "tcp6:5672:interface=\\:\\:1",
        "unix:/run/router.sock:mode=660",
        "systemd:domain=INET:name=amqp",
        "systemd:domain=INET:index=0",
        "haproxy:tcp:5672",
    ],
)
def test_an_endpoint_is_any_that_twisted_knows(registry: Registry, text: str) -> None:
    assert Config.from_dict(endpoint(text), registry=registry).listener[0].endpoint == text


def test_checking_a_config_installs_no_reactor_and_opens_nothing(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from txrouter.config import Config\n"
        f"Config.default(listen=['unix:{tmp_path}/socket', 'haproxy:tcp:0'])\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "assert 'txrouter.net.protocol' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert not (tmp_path / "socket").exists()


# ---- what is wrong with it -----------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_at_once(registry: Registry) -> None:
    data: dict[str, object] = {
        "router": {"id": "a b", "default_distribution": "pul"},
        "listener": [{"endpoint": "tcp:1"}, {"endpoint": "carrier-pigeon:1", "allow_bare": 1}],
        "listeners": [],
        "address": [
            {"pattern": "a", "distribution": "weighted"},
            {"pattern": "/a", "distribution": "pull"},
            {"prefix": "b*", "distribution": "weighted", "options": {"capcity": "x", "window": "y"}},
        ],
        "limits": {"max_links": 0, "max_link": 1},
    }
    assert problems(registry, data, listen=["tcp"], distribution=["c", "d=nothing"]) == [
        "--distribution c: must be PATTERN=POLICY",
        "router.id: must be a name without spaces and slashes",
        "router.default_distribution: there is no policy 'pul'; there are: pull, impostor, needy, odd, weighted",
        "listener[1].endpoint: 'carrier-pigeon:1' is no server endpoint: Unknown endpoint type: 'carrier-pigeon'",
        "listener[1].allow_bare: must be true or false, not 1",
        "--listen tcp: 'tcp' is no server endpoint: missing 1 required positional argument: 'port'",
        "address[1].pattern: '/a' is there twice",
        "address[2].prefix: the prefix 'b*' has a wildcard; only a pattern may",
        "address[2].options.capcity: is unknown; did you mean 'capacity'?",
        'address[2].options.window: must be a whole number, not "y"',
        "--distribution d=nothing: there is no policy 'nothing'; there are: impostor, needy, odd, pull, weighted",
        "limits.max_links: must be at least 1",
        "limits.max_link: is unknown; did you mean 'max_links'?",
        "listeners: is unknown; did you mean 'listener'?",
    ]


def test_an_error_is_its_problems_one_on_each_line(registry: Registry) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict({"router": 1, "address": {}}, registry=registry)
    assert str(caught.value) == "router: must be a table, not 1\naddress: must be an array"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"router": {"id": ""}}, "router.id: must be a name without spaces and slashes"),
        ({"router": {"id": "a/b"}}, "router.id: must be a name without spaces and slashes"),
        ({"router": {"stop_timeout": -1}}, "router.stop_timeout: must be at least 0"),
        ({"router": {"stop_timeout": float("nan")}}, "router.stop_timeout: must be a finite number"),
        ({"router": {"default_options": {"share": "1"}}}, 'router.default_options.share: must be a number, not "1"'),
        ({"listener": []}, "listener: must not be empty"),
        ({"listener": [{}]}, "listener[0].endpoint: is missing"),
        ({"listener": [7]}, "listener[0]: must be a table, not 7"),
        (endpoint(7), "listener[0].endpoint: must be a string, not 7"),
        (endpoint(""), "listener[0].endpoint: '' is no server endpoint: Unknown endpoint type: ''"),
        (
            endpoint("tcp:1:colour=red"),
            "listener[0].endpoint: 'tcp:1:colour=red' is no server endpoint: "
            "got an unexpected keyword argument 'colour'",
        ),
        (endpoint("tcp:99999"), "listener[0].endpoint: 'tcp:99999' is no server endpoint: ports end at 65535"),
        (
            endpoint("ssl:5671:privateKey=/no/such/key.pem"),
            "listener[0].endpoint: /no/such/key.pem: No such file or directory",
        ),
        (address(pattern="a.*b"), "address[0].pattern: the pattern 'a.*b' has a wildcard inside the token '*b'"),
        (address(pattern="a..b"), "address[0].pattern: the pattern 'a..b' has an empty token"),
        (address(pattern=""), "address[0].pattern: '' names no address"),
        (address(pattern=None), "address[0].pattern: an address has a pattern or a prefix, one of the two"),
        (address(prefix="y"), "address[0].pattern: an address has a pattern or a prefix, one of the two"),
        (address(distribution=None), "address[0].distribution: must be a string"),
        (address(options=[]), "address[0].options: must be a table"),
        (address(options={"strict": 1}), "address[0].options.strict: must be true or false, not 1"),
        (address(options={"window": True}), "address[0].options.window: must be a whole number, not true"),
        (address(options={"window": 1.5}), "address[0].options.window: must be a whole number"),
        (address(options={"order": "both"}), "address[0].options.order: must be 'first' or 'last'"),
        (address(options={"steps": [1, "b"]}), 'address[0].options.steps[1]: must be a whole number, not "b"'),
        (address(options={"capacity": "none"}), "address[0].options: capacity must be something"),
        (address(options={"window": 13}), "address[0].options: window and luck contradict each other"),
        (address(options={"window": 14}), "address[0].options: the policy cannot be built: KeyError: 'window'"),
        (address(options={"window": 15}), "address[0].options.window: 15 is said to be unlucky: nobody knows why"),
        (address(options={"zzz": 1}), "address[0].options.zzz: is unknown; there are: capacity, window, share, "),
        (address(distribution="needy"), "address[0].options.key: is missing"),
        (address(distribution="odd"), "address[0].options: the policy's own options are of no use: "),
        (address(distribution="impostor"), "address[0].options: the policy cannot be built: "),
        (
            address(distribution="no.such:thing"),
            "address[0].distribution: 'no.such:thing' cannot be loaded: ModuleNotFoundError: ",
        ),
        (address(shadow=[]), "address[0].shadow: must be a table"),
        (address(shadow={}), "address[0].shadow.distribution: is missing"),
        (address(shadow={"distribution": "pul"}), "address[0].shadow.distribution: there is no policy 'pul'; there "),
        (
            address(shadow={"distribution": "pull", "option": {}}),
            "address[0].shadow.option: is unknown; did you mean 'options'?",
        ),
        (
            address(shadow={"distribution": "pull", "options": {"window": "y"}}),
            'address[0].shadow.options.window: must be a whole number, not "y"',
        ),
        (
            address(shadow={"distribution": f"{multicast.__name__}:factory"}),
            "address[0].shadow: txrouter.policies.multicast:factory does not choose a consumer: there is nothing to ",
        ),
        (
            address(shadow={"distribution": f"{unavailable.__name__}:factory"}),
            "address[0].shadow: txrouter.policies.unavailable:factory does not choose a consumer: there is nothing to ",
        ),
        (
            address(distribution=f"{multicast.__name__}:factory", shadow={"distribution": "pull"}),
            "address[0].shadow: txrouter.policies.multicast:factory does not choose a consumer: there is nothing to ",
        ),
        ({"limits": []}, "limits: must be a table"),
        ({"limits": {"idle_timeout": 0.5}}, "limits.idle_timeout: must be 0 (off) or at least 1"),
        ({"limits": {"handshake_timeout": 0}}, "limits.handshake_timeout: must be above 0"),
        ({"limits": {"max_frame_size": 100}}, "limits.max_frame_size: must be at least 512"),
        ({"limits": {"max_sessions": 32_769}}, "limits.max_sessions: must be at most 32768"),
        ({"limits": {"link_capacity": 2.5}}, "limits.link_capacity: must be a whole number"),
        (
            {"limits": {"session_window": 32_768}},
            "limits: session_window must be at least twice max_frame_size (32768)",
        ),
        ({"limits": Limits(max_links=0)}, "limits.max_links: must be at least 1"),
    ],
)
def test_a_problem_is_said_with_its_path(registry: Registry, data: dict[str, object], problem: str) -> None:
    [said] = problems(registry, data)
    assert said.startswith(problem)
    assert "\n" not in said


def test_a_pattern_and_a_prefix_that_are_the_same_are_there_twice(registry: Registry) -> None:
    rules = [{"prefix": "a.b", "distribution": "pull"}, {"pattern": "amqp:/a/b/#", "distribution": "pull"}]
    assert problems(registry, {"address": rules}) == ["address[1].pattern: 'amqp:/a/b/#' is there twice"]


def test_the_command_line_does_not_silently_override_a_file(registry: Registry) -> None:
    assert problems(registry, address(), distribution=["x=pull"]) == ["--distribution x=pull: 'x' is there twice"]


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_toml(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "router.toml"
    path.write_text('[router]\nid = "é1"\n[[address]]\npattern = "x"\ndistribution = "pull"\n', encoding="utf-8")
    config = Config.load(path, listen=["tcp:0"], distribution=["y=weighted"], registry=registry)
    assert config.router.id == "é1"
    assert [a.pattern for a in config.address] == ["x", "y"]
    assert config.listener[0].endpoint == "tcp:0"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[router]\nid = r1\n", "line 2, column 6: Invalid value"),
        (b"[router]\nid = ", "line 2, column 6: Invalid value"),
        (b'[router]\nid = "a"\nid = "b"\n', "line 3, column 9: Cannot overwrite a value"),
        (b"id = \xff", "cannot be read: byte 5 is not UTF-8"),
    ],
)
def test_what_is_no_toml_is_said_with_line_and_column(
    registry: Registry, tmp_path: Path, text: bytes, problem: str
) -> None:
    path = tmp_path / "router.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        Config.load(path, registry=registry)
    assert caught.value.problems == (problem,)


def test_a_file_that_cannot_be_read_is_a_problem_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot be read: No such file or directory$"):
        Config.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"^cannot be read: Is a directory$"):
        Config.load(tmp_path)


# ---- the documentation ---------------------------------------------------------------------------------------------


def documented_configs() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```$", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", documented_configs())
def test_the_example_configs_of_the_documentation_are_right(text: str, tmp_path: Path) -> None:
    (tmp_path / "router.toml").write_text(text, encoding="utf-8")
    Config.load(tmp_path / "router.toml")


def documented_keys() -> dict[str, str]:
    """Each key in the documentation's table of the config, with its default as it is written there."""
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*?) \|", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    return {key: default.strip("`").replace(",", "") for key, default in rows}


def test_the_documentation_has_every_key_and_its_default(registry: Registry) -> None:
    documented = documented_keys()
    tables: dict[str, type[BaseModel]] = {
        "router": RouterTable,
        "listener[]": Listener,
        "address[]": Address,
        "access[]": AccessRule,
        "capacity[]": CapacityTable,
        "limits.client[]": ForClients,
    }
    keys = {f"{table}.{key}" for table, model in tables.items() for key in model.model_fields}
    limits = {f"limits.{key}": value for key, value in dataclasses.asdict(Limits()).items() if key != "client"}
    assert set(documented) == keys | set(limits)
    for key, value in limits.items():
        assert float(documented[key]) == value, key
    for key in "every", "timeout", "expires":
        assert float(documented[f"capacity[].{key}"]) == CapacityTable.model_fields[key].default
    assert documented["router.default_distribution"] == '"pull"'
    assert float(documented["router.stop_timeout"]) == Config.default(registry=registry).router.stop_timeout
    assert documented["listener[].allow_bare"] == "true"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=" + "[" * 2_000, "cannot be read: it is nested too deep"),
        ("a=" + "{a=" * 2_000, "cannot be read: it is nested too deep"),
        ("[limits]\nmax_links=" + "9" * 5_000, "cannot be read: a number has too many digits"),
        ("router.id=0x" + "f" * 5_000, "router.id: must be a string, not a number with too many digits"),
        (
            "[[address]]\npattern='x'\ndistribution='weighted'\noptions.capacity" + ".a" * 2_000 + "=1",
            "address[0].options: is nested too deep",
        ),
        (
            'router."\\n\\u202e"=1',
            r"router.\n\u202e: is unknown; there are: id, default_distribution, default_options, stop_timeout",
        ),
    ],
    ids=["arrays", "tables", "digits", "digits in another base", "options", "a key that cannot be printed"],
)
def test_what_is_too_much_to_read_is_said_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "router.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        Config.load(file)
    assert raised.value.problems == (said,)


@pytest.mark.parametrize("key", ["pattern", "prefix"])
def test_the_routers_own_address_cannot_be_given_to_others(key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_dict({"address": [{key: "/$management", "distribution": "pull"}]})
    assert raised.value.problems == (f"address[0].{key}: '/$management' is the router's own",)


# ---- wrappers ------------------------------------------------------------------------------------------------------


def wrapped(**options: object) -> dict[str, object]:
    return address(distribution="outlier + slow-start + weighted", options=options)


def test_wrappers_have_their_options_in_tables_of_their_own() -> None:
    config = Config.from_dict(wrapped(capacity="credit", outlier={"failures": 3}))
    options = config.address[0].options
    assert (options.capacity, options.outlier.failures, options.slow_start.initial) == ("credit", 3, 0.1)


def test_wrappers_can_be_named_on_the_command_line() -> None:
    config = Config.default(distribution=["jobs.#=outlier + pull"])
    assert config.address[0].distribution == "outlier + pull"


def test_a_config_with_wrappers_that_is_read_again_is_the_same() -> None:
    tables = [Config.from_dict(wrapped(outlier={"failures": 3})).table() for _ in range(2)]
    assert tables[0].find("x") == tables[1].find("x")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"outlier": {"failures": "3"}}, 'address[0].options.outlier.failures: must be a whole number, not "3"'),
        ({"outlier": {"failures": -3}}, "address[0].options.outlier.failures: -3 is not between 0 and 1000000"),
        ({"outlier": {"outcomes": ["bad"]}}, "address[0].options.outlier.outcomes[0]: must be "),
        ({"slow_start": 5}, "address[0].options.slow_start: must be a table"),
        ({"slow-start": {}}, "address[0].options.slow-start: is unknown; did you mean 'slow_start'?"),
        ({"outlier": {"failuers": 3}}, "address[0].options.outlier.failuers: is unknown; did you mean 'failures'?"),
        ({"capacity": "x"}, "address[0].options.capacity: 'x' is neither "),
    ],
)
def test_what_is_wrong_with_a_wrapper_is_said_with_its_path(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(wrapped(**options))
    [said] = caught.value.problems
    assert said.startswith(problem)
