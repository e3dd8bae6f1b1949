"""Plans over all offers of the catalogue, for a 70B training and for an endpoint, beside SkyPilot's optimizer.

    .venv/bin/python benchmarks/planner.py

Each figure is of a process of its own on one processor, the planners in turn. SkyPilot gets the same rows, in an
environment of its own, which is made first; benchmarks/peers/skypilot_planner.py says what it is asked and what it
leaves out. Prints a table, and as its last line everything as JSON. docs/benchmarks/planner.md has the results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # this file's folder has modules of names that are not meant

from benchmarks.environments import python_for
from benchmarks.machine import describe_machine
from benchmarks.offer_rows import rows, scaled

SPECS = {"training": "jobs/llama_70b.train.yaml", "serving": "serve_apps/llama_70b.yaml"}
SHARES = (0.25, 0.5, 1.0, 2.0)
"""Of the catalogue: every fourth region, every second, all, and all twice."""
WARM = 3
PEER_LIMIT_S = 300


def main() -> None:
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.share)))
        return
    machine = describe_machine()
    ours: dict[str, list[dict[str, Any]]] = {}
    theirs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(arguments.rounds):
        for what in SPECS:
            for share in SHARES if what == "training" else (1.0,):
                ours.setdefault(f"{what} {share:.0%}", []).append(_ours(what, share))
                if arguments.peer:
                    theirs.setdefault(f"{what} {share:.0%}", []).append(_theirs(what, share, arguments.work))
    _print(ours, theirs)
    result = {
        "targets": _targets(ours, theirs),
        "tradewind": ours,
        "skypilot": theirs,
        "machine": {**machine, "load_after": describe_machine()["load"]},
    }
    print(json.dumps(result))


def measure(what: str, share: float) -> dict[str, Any]:
    """Seconds of the first plan with everything loaded for it, of the next ones, and the most memory."""
    os.sched_setaffinity(0, {0})
    began, cpu = time.perf_counter(), time.process_time()
    from tradewind.catalog import Offer, load_catalog
    from tradewind.clusters import this_machine
    from tradewind.planner import Plan, make_plan
    from tradewind.planner.choice.question import Question
    from tradewind.planner.own_machine import own_offer
    from tradewind.planner.wish import serving_work, training_work
    from tradewind.records import now
    from tradewind.specs import ServeSpec, TrainSpec, load
    from tradewind.storage import open_store

    spec = load(ROOT / SPECS[what])
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        assert isinstance(spec, TrainSpec | ServeSpec)
        work = training_work(store, spec) if isinstance(spec, TrainSpec) else serving_work(store, spec)
    catalog = load_catalog()
    opened, opened_cpu = time.perf_counter(), time.process_time()
    listed = list(catalog.offers())
    catalog_s, catalog_cpu_s = time.perf_counter() - opened, time.process_time() - opened_cpu
    offers: list[Offer] = [own_offer(this_machine(), now().date()), *_scaled(listed, share)]

    def plan() -> Plan:
        made = make_plan(Question(work, limits=spec.where, chips=catalog.chips), offers)
        assert made.front
        return made

    made = plan()
    cold = time.perf_counter() - began, time.process_time() - cpu
    warm = [_timed(plan) for _ in range(WARM)]
    return {
        "offers": len(offers),
        "candidates": made.count,
        "catalog_s": catalog_s,
        "catalog_processor_s": catalog_cpu_s,
        "cold_s": cold[0],
        "cold_processor_s": cold[1],
        "warm_s": [wall for wall, _ in warm],
        "warm_processor_s": [used for _, used in warm],
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "chosen": {"offer": made.best.offer, "machines": made.best.machines, "usd": made.best.cost_usd.value},
    }


def _scaled(offers: list[Any], share: float) -> list[Any]:
    """As `offer_rows.scaled` does it with rows: fewer regions of each cloud, or copies of all."""
    if share >= 1:
        return [
            replace(one, region=replace(one.region, name=f"{one.region.name}-{copy}")) if copy else one
            for copy in range(round(share))
            for one in offers
        ]
    kept = {(row["cloud"], row["region"]) for row in scaled(rows(offers), share)}
    return [one for one in offers if (one.region.cloud, one.region.name) in kept]


def _timed(call: Any) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - cpu


def _ours(what: str, share: float) -> dict[str, Any]:
    return _last_line([sys.executable, __file__, "--measure", what, "--share", str(share)], {})


def _theirs(what: str, share: float, work: Path) -> dict[str, Any]:
    from tradewind.catalog import load_catalog

    table = scaled(rows(load_catalog().offers()), share)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        file.write_text(json.dumps(table))
        command = [str(python_for("skypilot", work)), "-P", "-m", "benchmarks.peers.skypilot_planner", str(file)]
        pinned = ["taskset", "--cpu-list", "0", *command, "--request", what, "--repeat", str(WARM)]
        return _last_line(pinned, {"PYTHONPATH": str(ROOT), "TMPDIR": folder})


def _last_line(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PEER_LIMIT_S, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _best(runs: list[dict[str, Any]], name: str) -> float:
    """Of all warm plans of all rounds: other work on the machine only adds to a time."""
    values = (value for run in runs for value in (run[name] if isinstance(run[name], list) else [run[name]]))
    return float(min(values))


def _targets(ours: dict[str, list[dict[str, Any]]], theirs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    training, twice = ours["training 100%"], ours["training 200%"]
    half = _best(ours["training 50%"], "warm_processor_s")
    full, double = _best(training, "warm_processor_s"), _best(twice, "warm_processor_s")
    targets = {
        "training_plan_s": (_best(training, "warm_s"), 1.0, "lower"),
        "serving_plan_s": (_best(ours["serving 100%"], "warm_s"), 1.0, "lower"),
        "training_first_plan_s": (_best(training, "cold_s"), 3.0, "lower"),
        "catalog_s": (_best(training, "catalog_s"), 0.15, "lower"),
        "memory_mb": (max(run["max_rss_mb"] for runs in ours.values() for run in runs), 300.0, "lower"),
        "growth_of_twice_the_offers": (double / full, 2.0, "lower"),
        "growth_of_four_times_the_offers": (double / half, 4.0, "lower"),
    }
    if theirs:
        pairs = zip(theirs["training 100%"], training, strict=True)
        ratio = median(min(sky["warm_processor_s"]) / min(own["warm_processor_s"]) for sky, own in pairs)
        targets["skypilot_processor_time_ratio"] = (ratio, 1.0, "higher")
    return {
        name: {"value": round(value, 3), "target": target, "better": better}
        for name, (value, target, better) in targets.items()
    }


def _print(ours: dict[str, list[dict[str, Any]]], theirs: dict[str, list[dict[str, Any]]]) -> None:
    print(f"{'case':16} {'planner':10}  offers candidates  first s  next s   cpu s    MB")
    for case in ours:
        for name, runs in (("tradewind", ours[case]), ("skypilot", theirs.get(case, []))):
            if runs:
                figures = [_best(runs, figure) for figure in ("cold_s", "warm_s", "warm_processor_s", "max_rss_mb")]
                first, following, used, memory = figures
                counts = f"{runs[0]['offers']:7} {runs[0]['candidates']:10}"
                print(f"{case:16} {name:10} {counts} {first:8.2f} {following:7.2f} {used:7.2f} {memory:5.0f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="without SkyPilot")
    parser.add_argument("--work", type=Path, default=cache / "tradewind" / "benchmarks", help="folder of environments")
    parser.add_argument("--measure", choices=sorted(SPECS), help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, default=1.0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
