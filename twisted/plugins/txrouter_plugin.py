"""Tells `twist` and `twistd` that there is a router; nothing of it is imported before it is chosen."""

from twisted.application.service import ServiceMaker

txrouter = ServiceMaker("txrouter", "txrouter.tap", "An AMQP 1.0 message router", "txrouter")
