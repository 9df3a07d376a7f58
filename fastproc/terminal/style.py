"""The styles of terminal output: four, so that the same thing looks the same everywhere."""

from __future__ import annotations

GOOD, BAD, QUIET, STRONG = "green", "bold red", "dim", "bold"
