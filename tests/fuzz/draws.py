"""Numbers of all magnitudes."""

import random

EQUAL_FACTORS = (1.0, 1.0, 1 + 1e-7, 1 - 1e-7, 1 + 1e-12, 1 + 1e-9, 1 + 1e-5)


class Numbers:
    """Draws times and sizes in the manner of the features."""

    def __init__(self, features: set[str], rng: random.Random) -> None:
        self.rng, self.features = rng, features
        self.coarse = rng.random() < 0.6
        self.zero = 0.6 if "zeros" in features else rng.choice((0.0, 0.15))
        self.scale = 1.0
        if "tiny" in features:
            self.scale = 10.0 ** rng.randint(-9, -5)
        elif "huge" in features:
            self.scale = 10.0 ** rng.randint(6, 9)
        # Mixed: every number of its own magnitude, or ordinary ones with few that are far off.
        self.few = rng.random() < 0.5
        self.low, self.high = rng.choice(((-9, 9), (-9, 9), (-9, 0), (0, 9), (-3, 6)))

    def _plain(self, most: float) -> float:
        if "equal" in self.features:
            return self.rng.choice((1, 1, 1, 2, 3)) * self.rng.choice(EQUAL_FACTORS)
        value = self.rng.uniform(0, most)
        return max(0.25, round(value * 4) / 4) if self.coarse else value

    def time(self, most: float = 8.0) -> float:
        """A time in ms."""
        if self.rng.random() < self.zero:
            return 0.0
        if "mixed" in self.features and not (self.few and self.rng.random() < 0.6):
            value = 10.0 ** self.rng.uniform(self.low, self.high)
            return float(f"{value:.3g}") if self.coarse else value
        return self._plain(most) * self.scale

    def size(self, most: float = 8.0) -> float:
        """A size in bytes; the magnitude of times does not matter to it."""
        if self.rng.random() < self.zero:
            return 0.0
        if "mixed" in self.features and self.rng.random() < 0.5:
            return float(f"{10.0 ** self.rng.uniform(-3, 11):.4g}")
        return self._plain(most) * self.size_scale

    @property
    def size_scale(self) -> float:
        """One magnitude for the sizes of a case."""
        if "huge" in self.features:
            return 1e9
        return 1e-3 if "tiny" in self.features else 1.0
