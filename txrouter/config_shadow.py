"""What a config says of shadows: policies that run beside others, to be compared."""

from __future__ import annotations

import random
from typing import Annotated

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, model_validator

from txrouter.config_checks import Context, PolicyName, PolicyOptions, Table
from txrouter.core.addresses import Distribution
from txrouter.interfaces import IDistributionPolicyFactory, IMulticast, IUnavailable

__all__ = ["Shadow", "ShadowTable"]


class ShadowTable(Table):
    """`[address.shadow]`: a policy that is asked the same as the one of the address, and decides nothing."""

    distribution: PolicyName
    """The name of a policy, or `package.module:factory`."""
    options: PolicyOptions = Field(default_factory=dict, validate_default=True)
    """Its options."""

    _factory: IDistributionPolicyFactory = PrivateAttr()

    def model_post_init(self, context: Context | None, /) -> None:
        self._factory = (context or Context.new()).registry.factory(self.distribution)

    @model_validator(mode="after")
    def _chooses(self) -> ShadowTable:
        _check_that_it_chooses(self.distribution, self._factory, self.options)
        return self

    def as_distribution(self) -> Distribution:
        """It, as the core wants it."""
        return Distribution(self._factory, self.options)


def _check_that_it_chooses(name: str, factory: IDistributionPolicyFactory, options: object) -> None:
    """:raise ValueError: there is nothing to compare."""
    if IUnavailable.providedBy(factory) or IMulticast.providedBy(factory.build(options, random.Random(0))):
        raise ValueError(f"{name} does not choose a consumer: there is nothing to compare")


def _beside_one_that_chooses(shadow: ShadowTable | None, info: ValidationInfo) -> ShadowTable | None:
    name, options = info.data.get("distribution"), info.data.get("options")
    if shadow is not None and name is not None and options is not None:  # what is missing is reported already
        _check_that_it_chooses(name, Context.of(info).registry.factory(name), options)
    return shadow


Shadow = Annotated[ShadowTable | None, AfterValidator(_beside_one_that_chooses)]
"""The shadow of the policy that the fields before name, with its options; None if there is none."""
