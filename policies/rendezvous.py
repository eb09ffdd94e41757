"""Which member a key belongs to, by rendezvous: found anew from the members alone, wherever and whenever it is asked.

Rendezvous hashing gives each pair of a key and a member a number that looks random, and the key to the member with the
highest (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998). When a member comes, it takes
keys from all others, each as likely; when it goes, these keys go to all others, and no other key moves. The number
depends on the weight of the member so that it gets that share of the keys (Schindelhauer and Schomaker, "Weighted
distributed hash tables", 2005).

To look at all members would take too long where there are thousands. So they stand in a tree, each where the digest of
its name says, and the rendezvous is held among the branches at each fork, which weigh what all in them weigh (Wang and
Ravishankar's "skeleton"). That takes O(log n), at the price that at each fork on the way to a member that comes or goes
some keys more move, of those that are there: in all about (1 + log64 n) / n of the keys instead of 1 / n.
"""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b, shake_128
from math import fsum, inf, log
from struct import Struct
from typing import Generic, TypeVar

__all__ = ["Rendezvous"]

BITS = 6
"""Of a member's digest, for each fork: it has 64 branches at most."""
SIZE = 126
"""Bits of a digest. Two members whose digests are the same do not occur."""
_WORDS = Struct("<64I")

M = TypeVar("M", bound=Hashable)


class _Leaf(Generic[M]):
    """A member."""

    __slots__ = ("digest", "member", "weight")

    def __init__(self, member: M, digest: int, weight: float) -> None:
        self.member = member
        self.digest = digest
        self.weight = weight


class _Fork(Generic[M]):
    """Members whose digests are the same as far as it is away from the root."""

    __slots__ = ("branches", "depth", "salt", "weight")

    def __init__(self, salt: bytes, depth: int) -> None:
        self.salt = salt
        """What its numbers depend on besides the key: where it is."""
        self.depth = depth
        self.branches: dict[int, _Fork[M] | _Leaf[M]] = {}
        self.weight = 0.0

    def index(self, digest: int) -> int:
        """Where a member with that digest is."""
        return digest >> (SIZE - BITS * (self.depth + 1)) & 63

    def weigh(self) -> None:
        """Something in it has changed. The sum does not depend on what was before."""
        self.weight = fsum(branch.weight for branch in self.branches.values())

    def choose(self, key: bytes) -> _Fork[M] | _Leaf[M]:
        """The branch that a key belongs to."""
        branches = self.branches
        if len(branches) == 1:
            return next(iter(branches.values()))
        words = _WORDS.unpack(shake_128(self.salt + key).digest(_WORDS.size))
        best = -inf
        chosen: _Fork[M] | _Leaf[M] | None = None
        for index, branch in branches.items():
            number = log((words[index] + 0.5) * 2**-32) / branch.weight
            if number > best:
                best, chosen = number, branch
        assert chosen is not None
        return chosen


class Rendezvous(Generic[M]):
    """Members, each of which gets keys in proportion to its weight, above 0."""

    def __init__(self) -> None:
        self._root: _Fork[M] = _Fork(b"\0", 0)
        self._leaves: dict[M, _Leaf[M]] = {}

    def __len__(self) -> int:
        return len(self._leaves)

    @property
    def weight(self) -> float:
        """Of all."""
        return self._root.weight

    def add(self, member: M, name: str, weight: float) -> None:
        """It takes its share. No two may have the same name."""
        digest = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()) >> (128 - SIZE)
        leaf = self._leaves[member] = _Leaf(member, digest, weight)
        path = self._path(digest)
        fork = path[-1]
        other = fork.branches.get(fork.index(digest))
        while isinstance(other, _Leaf):  # it was alone in that branch
            index = fork.index(digest)
            deeper: _Fork[M] = _Fork(bytes([fork.depth + 1]) + fork.salt[1:] + bytes([index]), fork.depth + 1)
            fork.branches[index] = deeper
            deeper.branches[deeper.index(other.digest)] = other
            path.append(deeper)
            fork = deeper
            other = fork.branches.get(fork.index(digest))
        fork.branches[fork.index(digest)] = leaf
        self._weigh(path)

    def remove(self, member: M) -> None:
        """Its keys go to others."""
        digest = self._leaves.pop(member).digest
        path = self._path(digest)
        del path[-1].branches[path[-1].index(digest)]
        while len(path) > 1 and len(path[-1].branches) == 1:
            (last,) = path[-1].branches.values()
            if not isinstance(last, _Leaf):
                break
            path.pop()  # nothing is left to choose there
            path[-1].branches[path[-1].index(digest)] = last
        self._weigh(path)

    def reweigh(self, member: M, weight: float) -> None:
        """It has another share."""
        leaf = self._leaves[member]
        leaf.weight = weight
        self._weigh(self._path(leaf.digest))

    def _path(self, digest: int) -> list[_Fork[M]]:
        """The forks on the way to a digest."""
        fork = self._root
        path = [fork]
        while isinstance(branch := fork.branches.get(fork.index(digest)), _Fork):
            fork = branch
            path.append(fork)
        return path

    def _weigh(self, path: list[_Fork[M]]) -> None:
        for fork in reversed(path):
            fork.weigh()

    def find(self, key: bytes) -> M | None:
        """Whose key it is; None if there is nobody."""
        at: _Fork[M] | _Leaf[M] = self._root
        if not self._leaves:
            return None
        while isinstance(at, _Fork):
            at = at.choose(key)
        return at.member
