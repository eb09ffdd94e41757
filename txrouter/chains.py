"""Policies with wrappers around them, as `outlier + slow-start + pull` names them: the outermost first.

A chain is a policy factory as any other. Its options are the policy's, and a table for each wrapper that has some.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from txrouter.interfaces import (
    IDistributionPolicy,
    IDistributionPolicyFactory,
    IDistributionWrapperFactory,
    IMulticast,
    IUnavailable,
)

__all__ = ["Chain", "chain"]


@implementer(IDistributionPolicyFactory)
class Chain:
    """See `chain`."""

    def __init__(
        self, wrappers: tuple[IDistributionWrapperFactory, ...], policy: IDistributionPolicyFactory, options: type
    ) -> None:
        self.wrappers = wrappers
        self.policy = policy
        self.options = options
        self.name = " + ".join([*(wrapper.name for wrapper in wrappers), policy.name])
        self.summary = "; ".join([*(wrapper.summary for wrapper in wrappers), policy.summary])

    def __reduce__(self) -> tuple[object, ...]:
        return chain, (self.wrappers, self.policy)

    def build(self, options: Any, random: object) -> IDistributionPolicy:
        """As IDistributionPolicyFactory says."""
        build: Callable[[], Any] = functools.partial(self.policy.build, options, random)
        if IMulticast.providedBy(build()):
            raise ValueError(f"{self.policy.name!r} sends to every consumer: there is nothing to put a wrapper around")
        for wrapper in reversed(self.wrappers):
            table = getattr(options, _field(wrapper), None) or wrapper.options()
            build = functools.partial(self._wrap, wrapper, build, table, random)
        policy: IDistributionPolicy = build()
        return policy

    def _wrap(
        self, wrapper: IDistributionWrapperFactory, build: Callable[[], Any], options: object, random: object
    ) -> IDistributionPolicy:
        inside: list[ValueError] = []

        def build_inside() -> Any:
            try:
                return build()
            except ValueError as error:
                inside.append(error)
                raise

        try:
            return wrapper.wrap(build_inside, options, random)
        except ValueError as error:
            if error in inside:
                raise
            raise ValueError(f"{_field(wrapper)}.{error}") from error


@functools.cache  # so that the same config, read again, is the same
def chain(wrappers: tuple[IDistributionWrapperFactory, ...], policy: IDistributionPolicyFactory) -> Chain:
    """The factory of a policy with these wrappers around it, the outermost first.

    :raise ValueError: they do not go together; the message says why.
    """
    if IUnavailable.providedBy(policy):
        raise ValueError(f"{policy.name!r} lets nobody attach: there is nothing to put a wrapper around")
    names = {field.name for field in dataclasses.fields(policy.options)}
    added: list[tuple[str, Any, Any]] = []
    for wrapper in wrappers:
        name = _field(wrapper)
        if not name.isidentifier():
            raise ValueError(f"{wrapper.name!r} is no name for a wrapper")
        if name in names:
            raise ValueError(f"there are two options {name!r}")
        names.add(name)
        if not dataclasses.fields(wrapper.options):
            continue
        added.append((name, wrapper.options, _default(wrapper.options)))
    frozen = policy.options.__dataclass_params__.frozen
    # it is one of the policy's own, so that the policy can be built of it
    options: Any = dataclasses.make_dataclass(
        "Options", added, bases=(policy.options,), frozen=frozen, namespace={"__reduce__": _reduced}
    )
    options.of = Chain(wrappers, policy, options)
    return options.of  # type: ignore[no-any-return]


def _reduced(options: Any) -> tuple[object, ...]:
    """How a chain's options are copied and pickled: their class has no name that it could be found by."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.init}
    return _options, (options.of, values)


def _options(of: Chain, values: dict[str, object]) -> object:
    return of.options(**values)


def _field(wrapper: IDistributionWrapperFactory) -> str:
    name: str = wrapper.name
    return name.replace("-", "_")


def _default(options: Any) -> Any:
    """What stands for a wrapper's table where a config has none."""
    for field in dataclasses.fields(options):
        if field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            return dataclasses.field(kw_only=True)
    return dataclasses.field(default_factory=options, kw_only=True)
