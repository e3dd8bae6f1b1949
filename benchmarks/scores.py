"""From runs to figures: median and range of each, and how tradewind's stand to what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.tokens import TOKENS

Runs = dict[str, dict[str, list[dict[str, Any]]]]
"""Peer → case → what each run of it gave."""
Cases = Mapping[str, Sequence[Mapping[str, Any]]]

US = "tradewind"
MTOK = 1e6
FIGURES = (
    "tokens_per_s",
    "first_batch_s",
    "processor_s",
    "peak_memory_bytes",
    "memory_growth_bytes",
    "state_bytes",
    "import_s",
    "shuffle",
)
CHECKS = ("missing", "repeated", "damaged")
EXPECTED = {("save", "missing")}


@dataclass(frozen=True)
class Target:
    """A figure of ours with what it should be. The best peer's figure times `factor` replaces a fixed `value`."""

    case: str
    figure: str
    better: str
    value: float
    scale: float = 1.0


TARGETS: Mapping[str, Target] = {
    "cold_mtok_per_s": Target("cold", "tokens_per_s", "higher", 150, MTOK),
    "warm_mtok_per_s": Target("warm", "tokens_per_s", "higher", 300, MTOK),
    "first_batch_cold_s": Target("cold", "first_batch_s", "lower", 0.1),
    "resume_warm_s": Target("resume", "first_batch_s", "lower", 0.02),
    "processor_s_per_100_mtok_cold": Target("cold", "processor_s", "lower", 0.8, TOKENS / 100e6),
    "open_manifest_100k_shards_s": Target("open_manifest", "seconds", "lower", 0.05),
    "positions_1e12_memory_growth_mib": Target("positions", "memory_growth_bytes", "lower", 16, 2**20),
}
RATIO = 2.5
RATIOS = {"cold_over_best_peer": "cold", "warm_over_best_peer": "warm"}


def measured(cases: Cases, case: str, figure: str) -> list[float]:
    """A figure of all runs of a case that read what they should."""
    return [float(run[figure]) for run in cases.get(case, ()) if figure in run and is_right(run, case)]


def is_right(run: Mapping[str, Any], case: str) -> bool:
    """Whether every sequence came, once and whole. The reading that saves a state ends early, and so misses some."""
    return "error" not in run and not wrong_checks(run, case)


def wrong_checks(run: Mapping[str, Any], case: str) -> list[str]:
    return [check for check in CHECKS if run.get(check) and (case, check) not in EXPECTED]


def targets(runs: Runs, peers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Each target with our median; `value` is None where nothing was measured."""
    ours = runs.get(US, {})
    found = {
        name: {
            "value": _scaled(measured(ours, target.case, target.figure), target.scale),
            "target": target.value,
            "better": target.better,
        }
        for name, target in TARGETS.items()
    }
    for name, case in RATIOS.items():
        best = max((median(speeds) for peer in peers if (speeds := _speeds(runs, peer, case))), default=None)
        speeds = _speeds(runs, US, case)
        ratio = _scaled(speeds, best) if best and speeds else None
        found[name] = {"value": ratio, "target": RATIO, "better": "higher"}
    exact = [bool(run.get("exact")) and is_right(run, "resume") for run in ours.get("resume", ())]
    found["resume_exact"] = {"value": int(all(exact)) if exact else None, "target": 1, "better": "higher"}
    return found


def summary(runs: Runs) -> dict[str, dict[str, Any]]:
    """For each peer and case the median, the range and the number of runs of each figure, checks and errors."""
    return {peer: {case: _summary(of_case) for case, of_case in cases.items()} for peer, cases in runs.items()}


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"load": [run["load"] for run in runs]}
    for figure in (*FIGURES, "seconds"):
        if values := [float(run[figure]) for run in runs if figure in run]:
            figures[figure] = {
                "median": _short(median(values)),
                "low": _short(min(values)),
                "high": _short(max(values)),
            }
    for check in (*CHECKS, "exact"):
        if values := [run[check] for run in runs if check in run]:
            figures[check] = values
    if errors := [run["error"] for run in runs if "error" in run]:
        figures["errors"] = errors
    return figures


def _speeds(runs: Runs, peer: str, case: str) -> list[float]:
    return measured(runs.get(peer, {}), case, "tokens_per_s")


def _scaled(values: Sequence[float], scale: float) -> float | None:
    return _short(median(values) / scale) if values else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")
