"""What a router is told: the TOML of a config, checked as a whole before anything is opened.

A `Config` is right by construction: `Config.load`, `Config.from_dict` and `Config.default` return one, or raise
`ConfigError` with everything that is wrong, each with its path (`address[2].options.capacity: …`, counted from 0).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from txrouter.config_access import AccessRule, check_listeners
from txrouter.config_authentication import Auth, CertificateField, Mechanisms, Passwords, mechanisms_of
from txrouter.config_authentication import check as check_authentication
from txrouter.config_capacity import CapacityTable
from txrouter.config_checks import (
    UNDECIDED,
    Context,
    PolicyName,
    PolicyOptions,
    Table,
    check_endpoint,
    path_of,
    printable,
    read_toml,
    sentence,
)
from txrouter.config_limits import ClientLimitsTable, LimitsTable, limits_of
from txrouter.config_shadow import Shadow, ShadowTable
from txrouter.config_tls import (
    Certificate,
    ClientCA,
    ClientCertificates,
    MinimumTLS,
    PrivateKey,
    tls_settings,
)
from txrouter.core.access import Rule, Rules
from txrouter.core.addresses import CAPACITY_REPORTS, MANAGEMENT, AddressTable, Distribution
from txrouter.core.capacity_rules import CapacityRule
from txrouter.core.itself import TO_ITSELF
from txrouter.core.limits import Limits
from txrouter.interfaces import IDistributionPolicyFactory
from txrouter.net.tls import TLSSettings, without_tls
from txrouter.registry import Registry

__all__ = ["DEFAULT_ENDPOINT", "AccessRule", "Address", "Config", "ConfigError", "Listener", "RouterTable"]

DEFAULT_ENDPOINT = "tcp:5672:interface=127.0.0.1"
"""Where a router listens that is not told where."""


class ConfigError(ValueError):
    """A config that cannot be used. `str()` of it is its problems, one on each line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(map(printable, problems))
        """Each as `path: what is wrong`, in a line that can be printed."""
        super().__init__("\n".join(self.problems))


class RouterTable(Table):
    """`[router]`: what concerns the router as a whole."""

    id: str = Field(default_factory=socket.gethostname)
    """Its name, unique among the routers of a network; it is the container id that clients see."""
    default_distribution: PolicyName = Field("pull", validate_default=True)
    """The distribution policy of every address that no `[[address]]` matches."""
    default_options: PolicyOptions = Field(default_factory=dict, validate_default=True)
    """That policy's options: an instance of its options dataclass."""
    stop_timeout: float = Field(10.0, ge=0, le=3600)
    """How many seconds an orderly stop gives the deliveries that are in flight to settle."""

    _factory: IDistributionPolicyFactory = PrivateAttr()

    @field_validator("id")
    @classmethod
    def _usable_in_an_address(cls, value: str) -> str:
        if not value or "/" in value or " " in value or not value.isprintable():
            raise ValueError("must be a name without spaces and slashes")
        return value

    def model_post_init(self, context: Context | None, /) -> None:
        self._factory = (context or Context.new()).registry.factory(self.default_distribution)

    @property
    def distribution(self) -> Distribution:
        """The default policy and its options."""
        return Distribution(self._factory, self.default_options)


class Listener(Table):
    """`[[listener]]`: where clients connect."""

    endpoint: str
    """A Twisted server endpoint string."""
    allow_bare: bool = True
    """Where ANONYMOUS is offered: whether a client that starts with a bare AMQP header, without SASL, is let in too."""
    certificate: Certificate = ()
    """PEM files with the certificates to show to clients, and those between them and their roots: then it has TLS."""
    private_key: PrivateKey = Field(default=(), validate_default=True)
    """PEM files with the private keys, where they are not in the same files."""
    client_ca: ClientCA = ()
    """PEM files with the authorities whose clients are let in."""
    client_certificates: ClientCertificates = "required"
    """Whether, with `client_ca`, a client that shows no certificate is turned away."""
    minimum_tls: MinimumTLS = "1.2"
    """The lowest version of TLS that is spoken."""
    mechanisms: Mechanisms | None = Field(default=None, strict=False)
    """The SASL mechanisms, most wanted first; None for all that the checker knows, ANONYMOUS where there is none."""
    passwords: Passwords | None = None
    """A password file, as `txrouter passwd` makes it."""
    auth: Auth | None = Field(default=None, repr=False)
    """A credentials checker, as `twisted.cred.strcred` names them."""
    plain_without_tls: bool = False
    """Whether PLAIN is offered without TLS too."""
    external_field: CertificateField = "CN"
    """What of a client's certificate is its name, for EXTERNAL."""

    @property
    def transport(self) -> str:
        """The endpoint, or what it runs over, where it is one of TLS itself."""
        return without_tls(self.endpoint)[0]

    @property
    def tls(self) -> TLSSettings | None:
        """What all keys say of TLS together; None where there is none."""
        return tls_settings(self)

    @field_validator("endpoint")
    @classmethod
    def _well_formed(cls, value: str) -> str:
        check_endpoint(value)
        return value

    @model_validator(mode="after")
    def _lets_somebody_in(self) -> Self:
        check_authentication(self)
        return self

    @property
    def offered(self) -> tuple[str, ...]:
        """The SASL mechanisms, most wanted first."""
        return mechanisms_of(self)


class Address(Table):
    """`[[address]]`: the distribution policy of some addresses, named by a pattern or by a prefix."""

    prefix: str | None = None
    """It and every address below it, at a `/` or `.`."""
    pattern: str | None = Field(None, validate_default=True)
    """Tokens split at `/` and `.`: `*` stands for one token, `#` for any number."""
    distribution: PolicyName
    """The name of a policy, or `package.module:factory`."""
    options: PolicyOptions = Field(default_factory=dict, validate_default=True)
    """The policy's options: an instance of its options dataclass."""
    priority: bool = False
    """Whether what is held leaves by the priority in its header; or in the order it came."""
    shadow: Shadow = None
    """A policy that runs beside it and decides nothing, to be compared."""

    _factory: IDistributionPolicyFactory = PrivateAttr()

    @field_validator("prefix")
    @classmethod
    def _new_prefix(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            Context.of(info).addresses.add_prefix(value, UNDECIDED)
        return value

    @field_validator("pattern")
    @classmethod
    def _new_pattern(cls, value: str | None, info: ValidationInfo) -> str | None:
        has_prefix = "prefix" not in info.data or info.data["prefix"] is not None
        if has_prefix == (value is not None):
            raise ValueError("an address has a pattern or a prefix, one of the two")
        if value is not None:
            Context.of(info).addresses.add_pattern(value, UNDECIDED)
        return value

    def model_post_init(self, context: Context | None, /) -> None:
        self._factory = (context or Context.new()).registry.factory(self.distribution)

    def _add_to(self, table: AddressTable) -> None:
        shadow = None if self.shadow is None else self.shadow.as_distribution()
        distribution = Distribution(self._factory, self.options, self.priority, shadow)
        if self.pattern is not None:
            table.add_pattern(self.pattern, distribution)
        elif self.prefix is not None:
            table.add_prefix(self.prefix, distribution)


class Config(Table):
    """Everything a router is told; immutable. Made by `load`, `from_dict` or `default`, never by hand."""

    router: RouterTable
    listener: tuple[Listener, ...] = Field(strict=False)
    address: tuple[Address, ...] = Field(strict=False)
    access: tuple[AccessRule, ...] = Field(strict=False)
    capacity: tuple[CapacityTable, ...] = Field(strict=False)
    limits: Annotated[Limits, BeforeValidator(limits_of)]

    @field_validator("listener")
    @classmethod
    def _listens_somewhere(cls, value: tuple[Listener, ...]) -> tuple[Listener, ...]:
        if not value:
            raise ValueError("must not be empty")
        return value

    @field_validator("access")
    @classmethod
    def _access_by_listeners(cls, value: tuple[AccessRule, ...], info: ValidationInfo) -> tuple[AccessRule, ...]:
        check_listeners((), value, info)
        return value

    @field_validator("limits")
    @classmethod
    def _limits_by_listeners(cls, value: Limits, info: ValidationInfo) -> Limits:
        check_listeners(("client",), value.client, info)
        return value

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        listen: Sequence[str] = (),
        distribution: Sequence[str] = (),
        registry: Registry | None = None,
    ) -> Config:
        """The config in the TOML file `path`, with what the command line adds; see `from_dict`.

        :raise ConfigError: the file cannot be read, or something in it or on the command line is wrong.
        """
        return cls.from_dict(_read(path), listen=listen, distribution=distribution, registry=registry)

    @classmethod
    def default(
        cls, *, listen: Sequence[str] = (), distribution: Sequence[str] = (), registry: Registry | None = None
    ) -> Config:
        """The config of a router that has no file; see `from_dict`.

        :raise ConfigError: something on the command line is wrong.
        """
        return cls.from_dict({}, listen=listen, distribution=distribution, registry=registry)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, object],
        *,
        listen: Sequence[str] = (),
        distribution: Sequence[str] = (),
        registry: Registry | None = None,
    ) -> Config:
        """The config that `data` is, in the structure of the TOML.

        :param listen: more endpoints to listen on; they replace the default one, and add to those in `data`.
        :param distribution: more addresses, each as `PATTERN=POLICY`.
        :param registry: the policies that may be named; those that are installed where it is None.
        :raise ConfigError: something is wrong; it has everything that is.
        """
        added = _CommandLine(data, listen, distribution)
        try:
            config = cls.model_validate(added.data, context=Context.new(registry))
        except ValidationError as error:
            raise ConfigError(added.problems + [added.describe(line) for line in error.errors()]) from None
        if added.problems:
            raise ConfigError(added.problems)
        return config

    def table(self) -> AddressTable:
        """Which address has which distribution."""
        table = AddressTable(self.router.distribution)
        for address in self.address:
            address._add_to(table)
        for name in MANAGEMENT, CAPACITY_REPORTS:
            table.reserve(name, TO_ITSELF)
        return table

    def rules(self) -> Rules:
        """Who may do what."""
        return Rules([Rule(**rule.model_dump()) for rule in self.access])

    def capacities(self) -> list[CapacityRule]:
        """What is known of consumers' capacity."""
        return [table.rule() for table in self.capacity]


_TABLES: dict[object, type[Table]] = {
    "router": RouterTable,
    "listener": Listener,
    "address": Address,
    "access": AccessRule,
    "capacity": CapacityTable,
    "limits": LimitsTable,
}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        return read_toml(path)
    except ValueError as error:
        raise ConfigError([str(error)]) from error


class _CommandLine:
    """A config's tables with what the command line adds to them, and who is to blame for which."""

    def __init__(self, data: Mapping[str, object], listen: Sequence[str], distribution: Sequence[str]) -> None:
        self.data: dict[str, object] = {
            "router": {},
            "address": [],
            "access": [],
            "capacity": [],
            "limits": {},
            **data,
        }
        self.problems: list[str] = []
        self._options: dict[tuple[object, ...], str] = {}
        for endpoint in listen:
            self._append("listener", {"endpoint": endpoint}, f"--listen {endpoint}")
        self.data.setdefault("listener", [{"endpoint": DEFAULT_ENDPOINT}])
        for rule in distribution:
            pattern, equals, policy = rule.rpartition("=")
            if equals:
                self._append("address", {"pattern": pattern, "distribution": policy}, f"--distribution {rule}")
            else:
                self.problems.append(f"--distribution {rule}: must be PATTERN=POLICY")

    def _append(self, key: str, table: Mapping[str, str], option: str) -> None:
        tables = self.data.get(key, [])
        if isinstance(tables, list | tuple):  # where it is neither, that is reported
            self._options[(key, len(tables))] = option
            self.data[key] = [*tables, table]

    def describe(self, error: ErrorDetails) -> str:
        place = error["loc"]
        return f"{self._options.get(place[:2]) or path_of(place)}: {sentence(error, _keys(place))}"


def _keys(place: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that `place` is in."""
    if place[:2] == ("limits", "client") and len(place) > 3:
        return list(ClientLimitsTable.model_fields)
    if place[0] == "address" and place[2:3] == ("shadow",) and len(place) > 3:
        return list(ShadowTable.model_fields)
    table = _TABLES[place[0]] if len(place) > 1 else Config
    return list(table.model_fields)
