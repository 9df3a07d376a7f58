"""How long to pause before a server that has failed is asked again. Pure; the caller brings the dice."""

from __future__ import annotations


def pause_s(failures: int, first_s: float, longest_s: float, dice: float) -> float:
    """Return the pause in seconds after so many failures in a row (1 or more); `dice` is uniform in [0, 1).

    It doubles from `first_s` up to `longest_s`, less a jitter of up to half, so that a fleet does not ask in step.
    """
    pause = min(longest_s, first_s * 2.0 ** min(max(failures - 1, 0), 60))
    return pause * (1.0 - dice / 2)
