"""How start-up and checkpoints grow with parameters, weights and ranks, carried on to 405B parameters on 1,024 ranks.

    .venv/bin/python benchmarks/growth.py [--parts start,groups,meshes,checkpoint,planning] [--ranks 8] [--world 1024]

Start-up is measured phase by phase in new processes, checkpoints with states of several sizes, both for 1 to `--ranks`
ranks; process groups alone for up to `--groups`; what rank 0 does for the first checkpoint, with the state of 405B and
`--world` ranks, beside torch's planner on fewer. Each phase is fitted as a sum of terms, none of them negative, by
least squares. Prints a table, and as its last line everything as JSON. docs/benchmarks/growth.md has the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

from benchmarks.growth_checkpoint import measure_checkpoints
from benchmarks.growth_planning import KINDS, measure_planning, rows_of, weights
from benchmarks.growth_start import Case, add_data, measure_groups, measure_mesh, measure_start
from benchmarks.machine import describe_machine

STARTS = (
    *(Case(1, hidden, layers) for hidden, layers in ((256, 4), (256, 16), (256, 48), (1024, 4), (1024, 12))),
    *(Case(2, hidden, layers) for hidden, layers in ((256, 16), (1024, 4), (1024, 12))),
    *(Case(4, hidden, layers) for hidden, layers in ((256, 16), (1024, 4), (1024, 12))),
    *(Case(8, hidden, layers) for hidden, layers in ((256, 4), (256, 48), (1024, 12))),
)
GROUPS = (1, 2, 4, 8, 16, 32, 64)
TERMS: dict[str, tuple[str, ...]] = {
    "imports": (),
    "data opened": (),
    "mesh": ("ranks",),
    "model on meta, cut, sharded": ("parameters", "weights", "ranks"),
    "optimizer": ("parameters", "weights"),
    "no checkpoint found": ("weights", "ranks"),
    "weights drawn": ("drawn", "weights"),
    "checkpointer's groups": ("ranks",),
    "first batch": (),
    "more than a step": ("parameters", "weights", "ranks"),
    "checkpoint read": ("parameters", "weights", "ranks"),
}
"""What each phase of a start grows with: parameters, and numbers drawn, are those of a rank."""
CHECKPOINT_PARTS = {
    "first_s": "first call, of one rank",
    "stop_s": "later calls",
    "write_s": "files written",
    "closing_s": "metadata and record",
    "load_s": "loaded",
}
BYTES_PER_PARAMETER = 12
"""Weights and two moments in float32."""
TARGET_S = 10.0


def main() -> None:
    arguments = _arguments()
    parts, large = arguments.parts.split(","), large_rank(arguments.world)
    result: dict[str, Any] = {"machine": describe_machine(), "versions": _versions(), "large": large}
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="growth-") as folder:
        for part in parts:
            result[part] = _told(part, MEASURED[part](arguments, folder))
    result["fitted"] = {part: FITTED[part](result[part], large) for part in parts}
    result["load_after"] = describe_machine()["load"]
    result["targets"] = {}
    if {"checkpoint", "planning"} <= set(parts):
        first_s = first_call_s(result["planning"], result["fitted"])
        result["targets"]["first checkpoint, on the rank that plans, s"] = {
            "value": first_s,
            "target": TARGET_S,
            "better": "lower",
        }
    _print(result)
    print(json.dumps(result))


def first_call_s(planning: dict[str, Any], fitted: dict[str, Any]) -> float:
    """What one rank has to do for its own part, and what it does for all: each is only fitted where it is not there."""
    own: float = fitted["checkpoint"]["first call, of one rank"]["large_s"]
    return own + float(fitted["planning"]["ours"]["large_s"])


def _starts(arguments: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    add_data(folder)
    return [_told("start", measure_start(case, folder)) for case in STARTS if case.ranks <= arguments.ranks]


def _checkpoints(arguments: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    return measure_checkpoints(folder, arguments.ranks)


def _groups(arguments: argparse.Namespace, _: str) -> list[dict[str, Any]]:
    return [_told("groups", measure_groups(ranks)) for ranks in GROUPS if ranks <= arguments.groups]


def _meshes(arguments: argparse.Namespace, _: str) -> list[dict[str, Any]]:
    return [measure_mesh(world) for world in _fourths(arguments.world)]


def _planning(arguments: argparse.Namespace, _: str) -> dict[str, Any]:
    return measure_planning(_fourths(arguments.world), _fourths(arguments.world // 16))


def large_rank(world: int) -> dict[str, float]:
    """What one rank of the large run has: the most of any, for whole rows and blocks."""
    from tradewind.training.model.initialization import BLOCK_ELEMENTS

    parameters = drawn = 0
    for shape in weights().values():
        (first, *_), (rows, *_) = rows_of(0, world, shape)
        each = math.prod(shape[1:])
        parameters += rows * each
        at_once = max(1, BLOCK_ELEMENTS // each)
        drawn += (min(shape[0], -(-(first + rows) // at_once) * at_once) - first) * each if len(shape) > 1 else 0
    return {"parameters": parameters, "drawn": drawn, "weights": len(weights()), "ranks": world}


def fit_starts(starts: list[dict[str, Any]], large: dict[str, float]) -> dict[str, Any]:
    for one in starts:
        phases = one["phases"]
        phases["more than a step"] = max(0.0, phases["first step"] - phases["second step"])
    starts = [one for one in starts if one["ranks"] > 1] or starts  # one rank alone shards nothing
    names = {"parameters": "parameters_here", "drawn": "drawn_here", "weights": "weights", "ranks": "ranks"}
    known = [{term: one[name] for term, name in names.items()} for one in starts]
    return {phase: fit(known, [one["phases"][phase] for one in starts], terms, large) for phase, terms in TERMS.items()}


def fit_groups(groups: list[dict[str, Any]], large: dict[str, float]) -> dict[str, Any]:
    phases = [phase for phase in groups[0] if phase != "ranks"]
    return {phase: fit(groups, [one[phase] for one in groups], ("ranks",), large) for phase in phases}


def fit_meshes(meshes: list[dict[str, Any]], large: dict[str, float]) -> dict[str, Any]:
    return fit_groups(meshes, large)


def fit_checkpoints(cases: list[dict[str, Any]], large: dict[str, float]) -> dict[str, Any]:
    """Ranks of this machine share its disk, so the cases of one rank alone say what a rank with its own takes."""
    alone = [one for one in cases if one["ranks"] == 1]
    far = {"bytes": large["parameters"] * BYTES_PER_PARAMETER, "tensors": large["weights"] * (len(KINDS) + 1)}
    return {
        name: fit(alone, [one[part] for one in alone], ("bytes", "tensors"), far)
        for part, name in CHECKPOINT_PARTS.items()
    }


def fit_planning(planning: dict[str, Any], large: dict[str, float]) -> dict[str, Any]:
    """Of all ranks' pieces, on one."""
    far = {"pieces": large["weights"] * (len(KINDS) * large["ranks"] + 1)}
    return {who: fit(found, [one["planning_s"] for one in found], ("pieces",), far) for who, found in planning.items()}


def fit(
    known: list[dict[str, Any]], seconds: list[float], terms: tuple[str, ...], far: dict[str, float]
) -> dict[str, Any]:
    """`a + Σ b · term` by least squares of relative errors, no part of it negative, and what that makes far away."""
    import numpy as np

    if not terms:
        return {"a_s": median(seconds), "large_s": median(seconds)}
    table = np.array([[1.0, *(float(one[term]) for term in terms)] for one in known])
    scale, target = table.max(axis=0), np.array(seconds)
    weight = 1 / np.maximum(target, 0.05 * target.max())
    best: tuple[float, Any] = (math.inf, np.zeros(len(scale)))
    for chosen in itertools.product((False, True), repeat=len(scale)):
        mask = np.array(chosen)
        if not mask.any():
            continue
        part, *_ = np.linalg.lstsq((table / scale)[:, mask] * weight[:, None], target * weight, rcond=None)
        if (part < 0).any():
            continue
        whole = np.zeros(len(scale))
        whole[mask] = part
        error = float((((table / scale) @ whole - target) * weight).std())
        best = min(best, (error, whole), key=lambda one: one[0])
    found = best[1] / scale
    at = np.array([1.0, *(far[term] for term in terms)])
    return {"a_s": float(found[0])} | {
        **{f"s_per_{term}": float(one) for term, one in zip(terms, found[1:], strict=True)},
        "large_s": float(at @ found),
        "relative_error": best[0],
    }


MEASURED = {
    "start": _starts,
    "groups": _groups,
    "meshes": _meshes,
    "checkpoint": _checkpoints,
    "planning": _planning,
}
FITTED: dict[str, Any] = {
    "start": fit_starts,
    "groups": fit_groups,
    "meshes": fit_meshes,
    "checkpoint": fit_checkpoints,
    "planning": fit_planning,
}


def _fourths(world: int) -> tuple[int, ...]:
    return tuple(max(8, world // part) for part in (16, 4, 1))


def _told(part: str, found: Any) -> Any:
    print(part, json.dumps(found), flush=True)
    return found


def _versions() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__}


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "phase", "a, s", "and for each", f"at {result['large']['ranks']:.0f} ranks, s", "error")
    for part, phases in result["fitted"].items():
        for phase, one in phases.items():
            each = ", ".join(
                f"{key.removeprefix('s_per_')} {value:.3g}" for key, value in one.items() if "_per_" in key
            )
            error = f"{one['relative_error']:.0%}" if "relative_error" in one else ""
            table.add_row(part, phase, f"{one['a_s']:.3f}", each, f"{one['large_s']:.3g}", error)
    Console(width=140).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(MEASURED))
    parser.add_argument("--ranks", type=int, default=8, help="the most that start and write checkpoints")
    parser.add_argument("--groups", type=int, default=64, help="the most that do nothing but meet")
    parser.add_argument("--world", type=int, default=1024, help="ranks of the run that is planned")
    parser.add_argument("--work", type=Path, help="folder on the disk that is to be measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
