"""How long to wait before trying again, and when to call repeated failure a crash loop. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RestartPolicy:
    """Restart at once after a first crash, ever more rarely when it goes on; seconds all."""

    first: float = 0.25
    """A single crash costs hardly more than the start itself."""
    factor: float = 2.0
    ceiling: float = 30.0
    """Rare enough to leave the machine in peace, often enough to heal unattended."""
    jitter: float = 0.2
    """Share by which delays vary, so that what fell together does not rise together."""
    settle: float = 30.0
    """Running this long wipes the slate: the next crash is a first one again."""
    loop_after: int = 3
    """Crashes in a row that make a crash loop."""


@dataclass
class Backoff:
    """Counts the failures in a row of one thing."""

    policy: RestartPolicy = field(default_factory=RestartPolicy)
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def failed(self, ran_for: float) -> float:
        """Notes a failure after `ran_for` good seconds; returns the delay before the next try."""
        if ran_for >= self.policy.settle:
            self.failures = 0
        self.failures += 1
        # The exponent is bounded: after a week of failures 2**n would overflow a float.
        delay = self.policy.first * self.policy.factor ** min(self.failures - 1, 32)
        spread = self.random.uniform(1 - self.policy.jitter, 1 + self.policy.jitter)
        return min(delay, self.policy.ceiling) * spread

    @property
    def is_looping(self) -> bool:
        return self.failures >= self.policy.loop_after
