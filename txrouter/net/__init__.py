"""Twisted: protocols, services and timers around `txrouter.amqp`. Thin."""
