"""What the performance claims rest on: a load generator, and a report of what it found: ``python -m bench``.

Routers are separate processes started by a command; nothing here imports one.
"""
