"""Random numbers for kernels: the Mersenne Twister, with the numbers of NumPy's legacy generator.

Source: M. Matsumoto and T. Nishimura, Mersenne Twister: a 623-dimensionally equidistributed uniform
pseudo-random number generator, ACM TOMACS 8 (1998).
"""

from __future__ import annotations

import numpy as np

from placer.kernels import view

__all__ = ["Twister", "below", "share"]

SIZE, SHIFT = 624, 397
WORD, UPPER, LOWER = 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF
TWIST, TEMPER_B, TEMPER_C = 0x9908B0DF, 0x9D2C5680, 0xEFC60000


class Twister:
    """A stream of random numbers.

    Parameters
    ----------
    seed
        Where it starts, 0..2**32 - 1.
    """

    def __init__(self, seed: int) -> None:
        self.words = view(np.zeros(SIZE, dtype=np.uint64))
        self.words[0] = seed & WORD
        for i in range(1, SIZE):
            last = self.words[i - 1]
            self.words[i] = (1812433253 * (last ^ (last >> 30)) + i) & WORD
        self.at = SIZE


def refill(twister: Twister) -> None:
    """Make the next words."""
    for i in range(SIZE):
        after = i + 1 if i + 1 < SIZE else 0  # no remainders: they take longer than all else
        far = i + SHIFT if i + SHIFT < SIZE else i + SHIFT - SIZE
        y = (twister.words[i] & UPPER) | (twister.words[after] & LOWER)
        twister.words[i] = twister.words[far] ^ (y >> 1) ^ (y & 1) * TWIST
    twister.at = 0


def word(twister: Twister) -> int:
    """Return 32 random bits."""
    if twister.at >= SIZE:
        refill(twister)
    y = twister.words[twister.at]
    twister.at += 1
    y ^= y >> 11
    y ^= (y << 7) & TEMPER_B
    y ^= (y << 15) & TEMPER_C
    return (y ^ (y >> 18)) & WORD


def below(twister: Twister, end: int) -> int:
    """Return a whole number in 0..end - 1; ``end`` is at least 1."""
    if end == 1:
        return 0
    mask = end - 1
    mask |= mask >> 1
    mask |= mask >> 2
    mask |= mask >> 4
    mask |= mask >> 8
    mask |= mask >> 16
    drawn = word(twister) & mask
    while drawn >= end:
        drawn = word(twister) & mask
    return drawn


def share(twister: Twister) -> float:
    """Return a number in [0, 1)."""
    high = word(twister) >> 5
    return (high * 67108864.0 + (word(twister) >> 6)) / 9007199254740992.0
