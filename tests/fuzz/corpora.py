"""The inputs that are known: seeds for the fuzzers, and what once found a fault."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CORPORA", "corpus"]

CORPORA = Path(__file__).parent / "corpus"


def corpus(target: str) -> dict[str, bytes]:
    """The known inputs of a target, by their files' names."""
    return {file.name: file.read_bytes() for file in sorted((CORPORA / target).iterdir())}
