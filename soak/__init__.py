"""A soak: clients that come, die, stall and come again at load, and a ledger of what became of every message.

`make soak ARGS=--help` shows how to run it; docs/operations.md says what it promises.
"""
