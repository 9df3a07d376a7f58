"""The token bucket that limits how many jobs start. Pure: the caller passes the time."""

from __future__ import annotations


class TokenBucket:
    """Admit `max` starts at once and `max` per `duration_s` in the long run.

    In any time T no more than `max` and T times the rate start.

    Units: `now` is seconds on a monotonic clock; only differences matter.
    Source: RFC 2697 section 3, one rate and one colour, refilled lazily.
    """

    __slots__ = ("_at", "_tokens", "max", "per_s")

    def __init__(self, max: int, duration_s: float, now: float, *, full: bool = True) -> None:
        self.max = float(max)
        self.per_s = max / duration_s
        self._tokens = self.max if full else 0.0
        self._at = now

    def replaced(self, max: int, duration_s: float, now: float) -> TokenBucket:
        """Return the bucket of another rate, with as many of this one's tokens as it holds: no burst comes of it."""
        self._refill(now)
        other = TokenBucket(max, duration_s, now, full=False)
        other._tokens = min(other.max, self._tokens)
        return other

    def tokens(self, now: float) -> float:
        """Return how many tokens there are, and take none."""
        return min(self.max, self._tokens + max(0.0, now - self._at) * self.per_s)

    def take(self, now: float) -> float:
        """Take one token and return 0.0, or take none and return the seconds until one is available."""
        self._refill(now)
        # A caller that waited as told must not fail by a rounding error; 1e-9 of a token changes no rate.
        if self._tokens >= 1.0 - 1e-9:
            self._tokens = max(0.0, self._tokens - 1.0)
            return 0.0
        return (1.0 - self._tokens) / self.per_s

    def renew(self, now: float) -> None:
        """Exchange a token that was taken earlier for one of now.

        A token that is held while its job is waited for must not come on top of a bucket that has filled meanwhile.
        """
        self._refill(now)
        self._tokens = min(self._tokens, self.max - 1.0)

    def give_back(self, now: float) -> None:
        """Return a token that started nothing."""
        self._refill(now)
        self._tokens = min(self.max, self._tokens + 1.0)

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.max, self._tokens + (now - self._at) * self.per_s)
            self._at = now
