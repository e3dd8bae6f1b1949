"""Reads the same tokens from the same server with tradewind and with its peers, and compares.

    .venv/bin/python benchmarks/datasets.py --quick --peers tradewind,litdata

Needs Ceph's gateway (`apt-get install --no-install-recommends radosgw ceph-mon ceph-osd`) and a package index for the
peers. Prints a table, and as its last line everything as JSON. docs/benchmarks/datasets.md describes the method.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has a module named datasets, which is not meant

from benchmarks.cases import CASES, Bench, Case, Outcome
from benchmarks.machine import describe_machine
from benchmarks.peers.case import BUCKET
from benchmarks.scores import Runs, measured, summary, targets
from benchmarks.tables import print_tables
from benchmarks.tokens import make_tokens
from tradewind.testing.rgw import start_rgw

PEERS = ("tradewind", "mosaic", "litdata", "huggingface", "ray_data", "grain")
LIMITS = ("memmap", "get_loop")
EXTRAS = (Case("open_manifest", fresh=True, extra=True), Case("positions", fresh=True, extra=True))
"""Measured for tradewind only: they have targets of their own."""

WITHOUT_WORKERS = (*LIMITS, "ray_data")
"""Limits are of one process, and Ray Data reads in processes of its own anyway."""


def main() -> None:
    arguments = _arguments()
    work = arguments.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    make_tokens(work / "tokens.bin")
    with start_rgw(work / "server") as server:
        server.make_bucket(BUCKET)
        bench = Bench(work, server, 120 if arguments.quick else 300)
        runs = _run_all(bench, arguments.peers, 1 if arguments.quick else 3)
    print_tables(runs, LIMITS)
    result = {
        "targets": targets(runs, tuple(peer for peer in PEERS if peer != "tradewind")),
        "peers": summary(runs),
        "machine": {**machine, "load_after": describe_machine()["load"], "server": _server_version()},
        "versions": {name: version for peer in runs for name, version in _versions(runs[peer]).items()},
    }
    print(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--peers", type=_peers, default=(*LIMITS, *PEERS), metavar="A,B", help="only these")
    parser.add_argument("--quick", action="store_true", help="each case once instead of three times")
    parser.add_argument("--work", type=Path, default=cache / "tradewind" / "benchmarks", metavar="DIR")
    return parser.parse_args()


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - {*PEERS, *LIMITS}:
        raise argparse.ArgumentTypeError(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS + LIMITS)}")
    return names


def _run_all(bench: Bench, peers: tuple[str, ...], repetitions: int) -> Runs:
    """Round by round, so that a busy spell of the machine does not fall on one peer alone."""
    runs: Runs = {peer: {} for peer in peers}
    for peer in peers:
        _keep(runs, peer, "prepare", bench.prepare(peer))
    for _ in range(repetitions):
        for peer in peers:
            if "error" not in runs[peer]["prepare"][0]:
                for case in _cases(peer):
                    _run(bench, runs, peer, case)
    return runs


def _cases(peer: str) -> tuple[Case, ...]:
    cases = tuple(case for case in CASES if not (case.workers and peer in WITHOUT_WORKERS))
    return (*cases, *EXTRAS) if peer == "tradewind" else cases


def _run(bench: Bench, runs: Runs, peer: str, case: Case) -> None:
    """Run a case, unless what it would resume from is not there."""
    if case.resume and not measured(runs[peer], "save", "state_bytes"):
        return
    if peer in LIMITS and (case.save or case.resume):
        return
    _keep(runs, peer, case.name, bench.run(peer, case))


def _keep(runs: Runs, peer: str, case: str, outcome: Outcome) -> None:
    runs[peer].setdefault(case, []).append(outcome)
    figures = {name: value for name, value in outcome.items() if name != "versions"}
    print(f"{peer} {case}: {json.dumps(figures)}", file=sys.stderr, flush=True)


def _versions(cases: dict[str, list[Outcome]]) -> dict[str, Any]:
    return {name: value for runs in cases.values() for run in runs for name, value in run.get("versions", {}).items()}


def _server_version() -> str:
    return subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
