"""`txrouter can`: what a config allows to whom, without a router."""

from __future__ import annotations

import argparse
import sys

from txrouter.config import Config, ConfigError
from txrouter.core.access import FLAGS
from txrouter.core.addresses import normalise

__all__ = ["run"]


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Do what the command line says.

    :return: the exit status: 0 for yes, 1 for no, and 2 if there is no answer.
    :raise SystemExit: with 2, if the command line cannot be understood.
    """
    if options.action in FLAGS and options.address is not None:
        parser.error(f"{options.action} is not for an address: it is allowed or not, whatever the address is")
    if options.action not in FLAGS and options.address is None:
        parser.error(f"{options.action} needs an ADDRESS")
    try:
        config = Config.default() if options.config is None else Config.load(options.config)
    except ConfigError as error:
        for problem in error.problems:
            print(f"{options.config}: {problem}", file=sys.stderr)
        return 2
    count = len(config.listener)
    if not 0 <= options.listener < count:
        print(f"txrouter can: there is no listener {options.listener}; there are 0 to {count - 1}", file=sys.stderr)
        return 2
    try:
        path = "" if options.address is None else normalise(options.address)
    except ValueError as error:
        print(f"txrouter can: {error}", file=sys.stderr)
        return 2
    decision = config.rules().decide(options.user, options.listener, options.action, path)
    print(f"{'yes' if decision.allowed else 'no'}: {decision.why}")
    return 0 if decision.allowed else 1
