"""A Twisted application with a router of its own. Run it with `twistd -ny embedded.py`, or use `make_application`."""

from twisted.application import internet, service
from twisted.internet import reactor

from txrouter import Config, RouterService

SETTINGS = {
    "router": {"id": "embedded"},
    "listener": [{"endpoint": "tcp:5672:interface=127.0.0.1"}],
    "address": [
        {"pattern": "jobs.#", "distribution": "pull"},
        {"pattern": "render", "distribution": "weighted", "options": {"capacity": "property:gpus"}},
    ],
}


def make_application(settings=SETTINGS, reactor=reactor):
    """An application whose services are a router, and one that looks at it every ten seconds."""
    application = service.Application("embedded")
    routing = RouterService(Config.from_dict(settings), reactor)
    routing.setServiceParent(application)
    internet.TimerService(10, show, routing.router).setServiceParent(application)
    return application, routing


def show(router):
    """Print who takes from each address. The router's objects may be read at any time, from the reactor's thread."""
    for address in router.addresses.values():
        for consumer in address.consumers:
            print(f"{address.name}: {consumer.container} has credit {consumer.credit}, in flight {consumer.in_flight}")


application, _ = make_application()
