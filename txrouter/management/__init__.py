"""What may be asked of a running router: one module for each operation, which `txrouter.service` puts at its door.

The door is `txrouter.amqp.management`, which says how an operation is added. Nothing here knows the wire or the clock.
"""
