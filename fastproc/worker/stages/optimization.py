"""A full-size copy with fewer bytes, kept only if it saves enough."""

from __future__ import annotations

from typing import Any, Final

from fastproc.worker.stage import Encoded, StageResult, Work

NAME: Final = "optimization"

#: The contract's reasons.
SMALL_ALREADY: Final = "File already optimal size"
NOT_WORTH_IT: Final = "Savings not significant"


def run(work: Work) -> StageResult:
    """Raises FileCorrupted."""
    target, original = work.plan.optimized, work.source.size
    if target is None:
        return StageResult({"optimized": False, "reason": SMALL_ALREADY, "originalSize": original})
    picture = work.source.stream(by_strips=work.encoders.of(target.format).by_strips)
    data = work.encoders.encode(picture, target.format, target.quality)
    percent = round(100 * (original - len(data)) / original, 2)
    facts: dict[str, Any] = {"originalSize": original, "optimizedSize": len(data), "savingsPercent": percent}
    if percent <= work.options.optimize_min_saving_percent:
        return StageResult({"optimized": False, "reason": NOT_WORTH_IT} | facts)
    copy = Encoded(
        name=target.name,
        width=target.width,
        height=target.height,
        data=data,
        content_type=f"image/{target.format}",
    )
    return StageResult({"optimized": True, "savings": original - len(data)} | facts, (copy,))
