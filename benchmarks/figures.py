"""How figures are told: medians with their spread, a table for people, one line of JSON for programs."""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": figure(median(values)), "least": figure(min(values)), "greatest": figure(max(values))}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(len(values) * share))]


def figure(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(models),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def finish(benchmark: str, figures: Mapping[str, Any]) -> None:
    """The last line."""
    print(json.dumps({"benchmark": benchmark, **figures, "machine": machine()}), flush=True)
