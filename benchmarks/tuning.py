"""A sweep that loses its workers, beside the same losses of plain Ray Tune, with the same searcher, seed and kills.

    .venv/bin/python benchmarks/tuning.py [--kills 0,5,10] [--repeat 1] [--parts kills,many,driver]

`kills`: 16 trials of 20 steps of 0.25 s, a checkpoint at each fifth, 4 at once; so many times the worker of a running
trial that was not killed yet ends by SIGKILL. Wall time, steps that were really made, steps that were made again.
`many`: 50 trials. `driver`: the process that drives is killed, with all of its Ray, and another one goes on.
The objective is `tests.tuning.sea.objective`: noisy, and the same for both. Walls are from the first start of slots
to the last result; a Ray that starts and imports of the driver are in neither. The last line is everything as JSON,
with the medians of what has a target: kills without early stopping, many trials, and the driver's kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)
sys.path.insert(0, str(ROOT / "platform"))

from benchmarks.machine import describe_machine

STEPS, STEP_S, AT_ONCE, SEED = 20, 0.25, 4, 7
INTERVAL = 5
"""Steps from one checkpoint to the next."""
MANY = 50
TICKS_S = {5: 4.0, 10: 2.0}
"""Kills → seconds between them."""
LOG = "TOY_LOG"
Run = dict[str, Any]


def _killed(most: float) -> dict[str, float | None]:
    """`most`: times what it is without kills."""
    return {
        "wall_s beside no kills": most,
        "machine_s beside no kills": most,
        "steps made again a kill": INTERVAL,
        "kill to next step, s": None,
        "overhead_s": 1.0,
    }


TARGETS: dict[str, dict[str, float | None]] = {
    "0 kills": {"overhead_s": 1.0},
    "5 kills": _killed(1.08),
    "10 kills": _killed(1.15),
    "many": {"wall_s": 180.0},
    "driver": {"to_first_step_s": 10.0, "again": AT_ONCE * INTERVAL, "trials lost": 0},
}
"""Part → figure → at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", default="0,5,10")
    parser.add_argument("--schedulers", default="none,asha")
    parser.add_argument("--parts", default="kills,many,driver")
    parser.add_argument("--systems", default="tradewind,ray")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_one(Path(arguments.folder), **json.loads(arguments.one))))
        return
    found = list(_all(arguments))
    print(json.dumps({"targets": targets(found), "machine": describe_machine(), "runs": found}))


def _all(arguments: argparse.Namespace) -> Any:
    systems = arguments.systems.split(",")
    if "kills" in arguments.parts:
        for _ in range(arguments.repeat):
            for scheduler in arguments.schedulers.split(","):
                for kills in map(int, arguments.kills.split(",")):
                    for system in systems:
                        yield _told(system=system, scheduler=scheduler, kills=kills, trials=16)
    if "many" in arguments.parts:
        yield _told(system="tradewind", scheduler="asha", kills=0, trials=MANY)
    if "driver" in arguments.parts:
        for system in systems:
            yield _told(system=system, scheduler="asha", kills=0, trials=16, driver_after=73)


def targets(runs: list[Run]) -> dict[str, dict[str, Any]]:
    """Medians of each part that was run: None where no run of it came to its end, and as target where none is set."""
    ours, plain = (_by_part([run for run in runs if run["system"] == system]) for system in ("tradewind", "ray"))
    return {
        f"{figure}, {part}": {
            "value": _median(ours[part], figure),
            "target": target,
            "better": "lower",
            "ray_tune": _median(plain.get(part, []), figure),
        }
        for part, figures in TARGETS.items()
        if part in ours
        for figure, target in figures.items()
    }


def _by_part(runs: list[Run]) -> dict[str, list[Run]]:
    parts: dict[str, list[Run]] = {}
    for run in runs:
        parts.setdefault(_part(run), []).append(run)
    unkilled = {figure: _median(parts.get("0 kills", []), figure) for figure in ("wall_s", "machine_s")}
    return {part: [run | _derived(run, unkilled) for run in of_part] for part, of_part in parts.items()}


def _part(run: Run) -> str:
    if "driver_after" in run:
        return "driver"
    if run["trials"] == MANY:
        return "many"
    return f"{run['kills']} kills" + (" and stops" if run["scheduler"] != "none" else "")


def _derived(run: Run, unkilled: dict[str, float | None]) -> Run:
    found: Run = {}
    for figure, without in unkilled.items():
        if without and figure in run:
            found[f"{figure} beside no kills"] = run[figure] / without
    if run.get("killed"):
        found["steps made again a kill"] = run["again"] / run["killed"]
    if run.get("recovery_s"):
        found["kill to next step, s"] = median(run["recovery_s"])
    if "ended" in run:
        found["trials lost"] = run["trials"] - run["ended"]
    return found


def _median(runs: list[Run], figure: str) -> float | None:
    values = [run[figure] for run in runs if run.get(figure) is not None]
    return round(median(values), 3) if values else None


def _told(**wish: Any) -> dict[str, Any]:
    """One run in a process of its own, with a line for people."""
    with tempfile.TemporaryDirectory(prefix="tuning-") as folder:
        driver_after = wish.pop("driver_after", None)
        found = _after_kill(wish, folder, driver_after) if driver_after else _run(wish, folder)
    result = {**wish, **({"driver_after": driver_after} if driver_after else {}), **found}
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def _command(wish: dict[str, Any], folder: str) -> list[str]:
    return [sys.executable, __file__, "--one", json.dumps(wish), "--folder", folder]


def _run(wish: dict[str, Any], folder: str) -> dict[str, Any]:
    environment = {**os.environ, LOG: f"{folder}/steps.log"}
    done = subprocess.run(_command(wish, folder), capture_output=True, text=True, timeout=400, env=environment)
    if done.returncode:
        return {"failed": done.stderr[-2000:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _after_kill(wish: dict[str, Any], folder: str, after: int) -> dict[str, Any]:
    """Kill the driver when so many steps were made, and start another one in the same folder."""
    log = Path(folder) / "steps.log"
    environment = {**os.environ, LOG: str(log)}
    first = subprocess.Popen(
        _command(wish, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    while len(_lines(log)) < after and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.wait()
    moment = time.time()
    old = {line[3] for line in _lines(log)}
    resumed = _run({**wish, "resume": True}, folder)
    later = [line for line in _lines(log) if float(line[2]) > moment]
    new = [line for line in later if line[3] not in old]
    return {
        **{key: value for key, value in resumed.items() if key not in ("first_step_s", "overhead_s")},
        "to_first_step_s": round(float(new[0][2]) - moment, 2) if new else None,
        "orphaned_steps": len(later) - len(new),
    }


def _lines(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def _one(folder: Path, *, system: str, **wish: Any) -> dict[str, Any]:
    os.environ.setdefault(LOG, str(folder / "steps.log"))
    if system == "ray":
        from benchmarks.peers.ray_tune import tune
    else:
        tune = tune_ours
    killer = Killer(Path(os.environ[LOG]), wish.pop("kills"))
    found = tune(folder, killer=killer, **wish)
    lines = _lines(Path(os.environ[LOG]))
    made = Counter((line[0], line[1]) for line in lines)
    slots = AT_ONCE
    return {
        **found,
        "first_step_s": round(float(lines[0][2]) - killer.started_at, 2),
        "steps": len(lines),
        "again": sum(count - 1 for count in made.values()),
        "trials_seen": len({line[0] for line in lines}),
        "killed": len(killer.killed),
        "recovery_s": [round(one, 2) for one in killer.recoveries(lines)],
        "overhead_s": round((found["wall_s"] * slots - len(lines) * STEP_S) / max(1, found["ended"]), 2),
    }


class Killer(threading.Thread):
    """Ends the process of a random trial that works and was not killed yet, at each tick. `log` says who works."""

    def __init__(self, log: Path, count: int) -> None:
        super().__init__(daemon=True)
        self.killed: dict[str, float] = {}
        self.started_at = 0.0
        self._log, self._count = log, count
        self._draw = random.Random(SEED)

    def run(self) -> None:
        self.started_at = time.time()
        while len(self.killed) < self._count:
            time.sleep(TICKS_S.get(self._count, 3.0))
            moment = time.time()
            newest = {line[0]: (int(line[2 + 1]), float(line[2])) for line in _lines(self._log)}
            working = [
                (trial, pid)
                for trial, (pid, at) in newest.items()
                if moment - at < 2 * STEP_S and trial not in self.killed
            ]
            if not working:
                continue
            trial, pid = self._draw.choice(sorted(working))
            self.killed[trial] = time.time()
            os.kill(pid, signal.SIGKILL)

    def recoveries(self, lines: list[list[str]]) -> list[float]:
        """From each kill to the end of the next step of that trial; without those that were stopped instead."""
        found = []
        for trial, at in self.killed.items():
            after = [float(line[2]) - at for line in lines if line[0] == trial and float(line[2]) > at + 0.05]
            found += after[:1]
        return found


def tune_ours(folder: Path, *, killer: Killer, scheduler: str, trials: int, resume: bool = False) -> dict[str, Any]:
    import tradewind as tw
    from tests.samples import dataset_spec, write_text
    from tests.tuning.wishes import TOY, toy_spec
    from tradewind.tuning import Tuning

    with tw.Workspace(str(folder / "workspace")) as workspace:
        if not resume:
            workspace.datasets.add(dataset_spec(write_text(folder / "text")), on="local")
        spec = toy_spec(trials=trials, parallel=AT_ONCE, seed=SEED, max_steps=STEPS, scheduler=scheduler)
        connected: list[float] = []

        def connect(workers: int) -> Any:
            session = workspace._ray(workers=workers)
            connected.append(time.monotonic())
            killer.start()
            return session

        sweep = Tuning(workspace.store, workspace.machine, connect, work=TOY).start(spec).wait()
        ended = time.monotonic()
        standing = sweep.standing()
        best = standing.best
        assert best
        return {
            "wall_s": round(ended - connected[0], 2),
            "ended": sum(one.status in ("finished", "pruned") for one in standing.trials),
            "failed_trials": standing.count("failed"),
            "best": {key.rpartition(".")[2]: round(value, 6) for key, value in best.values.items()},
            "objective": round(standing.objective(best) or 0.0, 5),
            "preempted": sum(one.preempted for one in standing.trials),
            "first_step_s": round(
                float(_lines(Path(os.environ[LOG]))[0][2]) - (time.time() - (ended - connected[0])), 2
            ),
            "machine_s": round(standing.machine_s, 1),
        }


if __name__ == "__main__":
    main()
