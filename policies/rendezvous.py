"""Which member a key belongs to, by rendezvous: found anew from the members alone, wherever and whenever it is asked.

Rendezvous hashing gives each pair of a key and a member a number that looks random, and the key to the member with the
highest (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998). When a member comes, it takes
keys from all others, each as likely; when it goes, these keys go to all others, and no other key moves. The number
depends on the weight of the member so that it gets that share of the keys (Schindelhauer and Schomaker, "Weighted
distributed hash tables", 2005).

To look at all members would take too long where there are thousands. So they stand in a tree, each where the digest of
its name says, and the rendezvous is held among the branches, which weigh what all in them weigh (Wang and Ravishankar's
"skeleton"). The root has 16 branches, so that a few members are nearly all in branches of their own; what is deeper
has two, between which a comparison decides. That takes O(log n), with one digest of the key, at the price that at each
fork on the way to a member that comes or goes some keys more move, of those that are there: in all about
(1 + log2(1 + n / 16) / 2) / n of the keys instead of 1 / n.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b, shake_128
from math import fsum, log
from struct import Struct
from typing import Generic, TypeVar

__all__ = ["Rendezvous"]

SIZE = 126
"""Bits of a member's digest. Two members whose digests are the same do not occur."""
ROOT_BITS = 4
"""So many of them say in which branch of the root it is."""
_WIDTH = 1 << ROOT_BITS
_NUMBERS = Struct("<42I")
"""Of a key: one for each branch of the root, and then one for each further bit of digests. That many are quickly made,
and more hardly ever needed."""
_LIMIT = float(1 << 32)
"""They are below that."""

M = TypeVar("M", bound=Hashable)


class _Leaf(Generic[M]):
    """A member."""

    __slots__ = ("digest", "member", "weight")

    def __init__(self, member: M, digest: int, weight: float) -> None:
        self.member = member
        self.digest = digest
        self.weight = weight


class _Fork(Generic[M]):
    """Members whose digests are the same before a bit: those in which it is 0, and those in which it is 1."""

    __slots__ = ("bit", "bound", "digest", "number", "ones", "weight", "zeros")

    def __init__(self, bit: int, one: _Fork[M] | _Leaf[M], other: _Fork[M] | _Leaf[M]) -> None:
        self.bit = bit
        self.digest: int = one.digest
        """Of any of them."""
        self.number = _WIDTH + bit - ROOT_BITS
        """Which number of a key decides here;"""
        self.bound = 0.0
        """and below what it is for those with 0."""
        self.zeros, self.ones = (other, one) if self.has_one(one.digest) else (one, other)
        self.weigh()

    def has_one(self, digest: int) -> bool:
        """On which side a member with that digest is."""
        return bool(digest >> (SIZE - 1 - self.bit) & 1)

    def weigh(self) -> None:
        """Something in it has changed. The sum does not depend on what was before."""
        self.weight: float = self.zeros.weight + self.ones.weight
        self.bound = self.zeros.weight / self.weight * _LIMIT


def _with(at: _Fork[M] | _Leaf[M] | None, leaf: _Leaf[M]) -> _Fork[M] | _Leaf[M]:
    """What a branch is when a member has come."""
    if at is None:
        return leaf
    bit = SIZE - (at.digest ^ leaf.digest).bit_length()
    """The first in which they differ."""
    if isinstance(at, _Leaf) or bit < at.bit:
        return _Fork(bit, at, leaf)
    if at.has_one(leaf.digest):
        at.ones = _with(at.ones, leaf)
    else:
        at.zeros = _with(at.zeros, leaf)
    at.weigh()
    return at


def _without(at: _Fork[M] | _Leaf[M], digest: int) -> _Fork[M] | _Leaf[M] | None:
    """What a branch is when a member of it has gone."""
    if isinstance(at, _Leaf):
        return None
    if at.has_one(digest):
        left = _without(at.ones, digest)
        if left is None:
            return at.zeros
        at.ones = left
    else:
        left = _without(at.zeros, digest)
        if left is None:
            return at.ones
        at.zeros = left
    at.weigh()
    return at


class Rendezvous(Generic[M]):
    """Members, each of which gets keys in proportion to its weight, above 0."""

    def __init__(self) -> None:
        self._branches: dict[int, _Fork[M] | _Leaf[M]] = {}
        """Of the root."""
        self._weights: list[tuple[int, float]] = []
        """What these weigh, in the same order."""
        self._leaves: dict[M, _Leaf[M]] = {}
        self.weight = 0.0
        """Of all."""

    def __len__(self) -> int:
        return len(self._leaves)

    def add(self, member: M, name: str, weight: float) -> None:
        """It takes its share. No two may have the same name."""
        digest = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()) >> (128 - SIZE)
        self._put(_Leaf(member, digest, weight))

    def _put(self, leaf: _Leaf[M]) -> None:
        self._leaves[leaf.member] = leaf
        index = leaf.digest >> (SIZE - ROOT_BITS)
        self._branches[index] = _with(self._branches.get(index), leaf)
        self._weigh()

    def remove(self, member: M) -> None:
        """Its keys go to others."""
        digest = self._leaves.pop(member).digest
        index = digest >> (SIZE - ROOT_BITS)
        left = _without(self._branches.pop(index), digest)
        if left is not None:
            self._branches[index] = left
        self._weigh()

    def reweigh(self, member: M, weight: float) -> None:
        """It has another share."""
        leaf = self._leaves[member]
        self.remove(member)
        leaf.weight = weight
        self._put(leaf)

    def _weigh(self) -> None:
        self._weights = [(index, branch.weight) for index, branch in self._branches.items()]
        self.weight = fsum(weight for _, weight in self._weights)

    def find(self, key: bytes) -> M | None:
        """Whose key it is; None if there is nobody."""
        if not self._leaves:
            return None
        numbers = _NUMBERS.unpack(shake_128(key).digest(_NUMBERS.size))
        scores = [log((numbers[index] + 0.5) / _LIMIT) / weight for index, weight in self._weights]
        at = list(self._branches.values())[scores.index(max(scores))]
        while isinstance(at, _Fork):
            which = at.number
            number = numbers[which] if which < len(numbers) else _further(key, which)
            at = at.zeros if number < at.bound else at.ones
        return at.member


def _further(key: bytes, which: int) -> int:
    """A number of a key beyond the first ones."""
    return int.from_bytes(shake_128(key).digest(4 * which + 4)[-4:], "little")
