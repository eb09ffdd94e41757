"""AMQP 1.0 by proton, without I/O: bytes in become calls on the core, calls from the core become bytes out."""
