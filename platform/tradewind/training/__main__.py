"""Training without Ray: `torchrun --nproc-per-node 8 -m tradewind.training SPEC --workspace URL`.

The same loop, records and checkpoints as under Ray Train, for machines that have no Ray. Whoever starts it places the
processes and starts them again; `--resume RUN` goes on with a run that was cut.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
import torch.distributed as dist

from tradewind.errors import RunError, TradewindError
from tradewind.ledger import this_team
from tradewind.specs import TrainSpec
from tradewind.storage import Store, open_store
from tradewind.training.data import open_data
from tradewind.training.device import this_device
from tradewind.training.job import Job, layout_of
from tradewind.training.parallel.network import use_network
from tradewind.training.parallel.topology import Place, tell
from tradewind.training.run import Run, find, take_up
from tradewind.training.trainer import begin, finish, finish_failed, job_of, prepare
from tradewind.training.worker import train


def main(words: list[str] | None = None) -> int:
    """The exit code, which all ranks agree on unless one is lost."""
    wish = _arguments(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    use_network(os.environ.get("MASTER_ADDR", "127.0.0.1"), cuda=torch.cuda.is_available())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    this_device()  # before the first collective: else all ranks of a machine would use its first chip
    store, leads = open_store(wish.workspace), dist.get_rank() == 0
    try:
        job = _same_on_all(lambda: _resumed(store, wish.resume) if wish.resume else _new(store, wish.spec))
        leads = True  # what fails from here on may fail on one rank alone
        _train(replace(job, store=store))
    except TradewindError as exc:
        if leads:
            sys.stderr.write(f"error: {exc}\n" + (f"hint: {exc.hint}\n" if exc.hint else ""))
        return exc.exit_code
    finally:
        dist.destroy_process_group()
    return 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tradewind.training", description=__doc__)
    parser.add_argument("spec", nargs="?", help="a YAML file with `kind: train`")
    parser.add_argument("--workspace", required=True, help="URL or folder")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run, from its last checkpoint")
    wish = parser.parse_args(words)
    if (wish.spec is None) == (wish.resume is None):
        parser.error("name a spec, or a run to --resume")
    return wish


def _new(store: Store, path: str) -> Job:
    spec = TrainSpec.load(path).with_values(workers=dist.get_world_size())
    data, shape = prepare(store, spec)
    name, datasets = begin(store, spec, data, shape, None)
    return Job(run=name, spec=spec, shape=shape, datasets=datasets, store=store, team=this_team())


def _resumed(store: Store, name: str) -> Job:
    run = find(store, name)
    take_up(run, anyway=False)
    return job_of(run)


def _same_on_all(make: Callable[[], Job]) -> Job:
    """What rank 0 makes, on all ranks; or what it raises."""
    found: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            found = [make()]
        except TradewindError as exc:
            found = [exc]
    dist.broadcast_object_list(found)
    if isinstance(found[0], TradewindError):
        raise found[0]
    return cast("Job", found[0])


def _train(job: Job) -> None:
    """To the end, which rank 0 writes down; that of a run that fails, the rank that fails first.

    The others may get no time for it: they are ended when one has left.
    """
    run = Run(job.store, job.run)
    try:
        _check_order(job)
        train(job)
    except Exception as exc:
        finish_failed(run, _failure(job.run, exc))
        raise
    if dist.get_rank() == 0:
        finish(run, job, open_data(job.store, job.spec, job.datasets))


def _failure(run: str, exc: Exception) -> RunError:
    """What a person should read of what this rank raised."""
    known, rank = exc if isinstance(exc, TradewindError) else None, dist.get_rank()
    text = known.message if known else (str(exc).strip() or type(exc).__name__).splitlines()[-1]
    failures = {rank: f"{type(exc).__name__}: {text}"}
    return RunError(f"run {run} failed: {text} (rank {rank})", hint=known.hint if known else None, failures=failures)


def _check_order(job: Job) -> None:
    """Say where ranks are: whoever started them has ordered them, and it may be bad for the layout."""
    hosts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(hosts, socket.gethostname())
    if dist.get_rank() == 0:
        tell([Place(host) for host in hosts], layout_of(job, len(hosts)))


if __name__ == "__main__":
    sys.exit(main())
