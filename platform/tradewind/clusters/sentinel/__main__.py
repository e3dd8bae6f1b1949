"""`python -m tradewind.clusters.sentinel`: watch, or raise a notice by hand."""

from __future__ import annotations

import argparse
import fcntl
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tradewind.clusters.notices import run_folder, withdraw
from tradewind.clusters.sentinel.drill import DrillNotices, end_drill, raise_drill
from tradewind.clusters.sentinel.raylet import find_raylets
from tradewind.clusters.sentinel.source import Source
from tradewind.clusters.sentinel.table import open_source, this_cloud
from tradewind.clusters.sentinel.watch import Sentinel
from tradewind.errors import ConflictError, TradewindError
from tradewind.units import parse_seconds

LOCK = "sentinel.lock"
_log = logging.getLogger("tradewind.clusters.sentinel")


def main(words: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    given = _parser().parse_args(words)
    try:
        if given.withdraw:
            end_drill()
            withdraw()
        elif given.notify is not None:
            _notify(given.notify)
        else:
            _watch(given)
    except TradewindError as exc:
        _log.error("%s%s", exc.message, f" ({exc.hint})" if exc.hint else "")
        return exc.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tradewind.clusters.sentinel", description=__doc__)
    parser.add_argument("--cloud", help="aws, azure, gcp, or none; by default what the machine's firmware says")
    parser.add_argument("--metadata", metavar="URL", help="where the cloud's metadata service is")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a head: only nodes of that cluster are meant")
    parser.add_argument("--raylet", metavar="PID", type=int, help="only the node of this process is meant")
    parser.add_argument("--notify", metavar="TIME", type=parse_seconds, help="raise a notice of so long, like 30s")
    parser.add_argument("--withdraw", action="store_true", help="take a notice back that was raised by hand")
    return parser


def _notify(warning_s: float) -> None:
    """Raises ConflictError when no sentinel would carry it out."""
    try:
        with _only_one():
            raise ConflictError("no sentinel runs here", hint="start `python -m tradewind.clusters.sentinel`")
    except _TakenError:
        raise_drill(warning_s)


def _watch(given: argparse.Namespace) -> None:
    cloud = given.cloud or this_cloud() or "none"
    sources: list[Source] = [DrillNotices()]
    if cloud != "none":
        sources.append(open_source(cloud, given.metadata))
    try:
        with _only_one():
            Sentinel(sources, partial(find_raylets, address=given.address, pid=given.raylet)).run()
    except _TakenError as exc:
        raise ConflictError("a sentinel runs here already") from exc


class _TakenError(Exception):
    """Another process has the lock."""


@contextmanager
def _only_one() -> Iterator[None]:
    with (run_folder() / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise _TakenError from exc
        yield


if __name__ == "__main__":
    sys.exit(main())
