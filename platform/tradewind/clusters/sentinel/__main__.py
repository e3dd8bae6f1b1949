"""`python -m tradewind.clusters.sentinel`: watch this machine."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

from tradewind.clusters.sentinel.drill import DrillNotices
from tradewind.clusters.sentinel.lock import TakenError, only_one
from tradewind.clusters.sentinel.raylet import find_raylets
from tradewind.clusters.sentinel.source import Source
from tradewind.clusters.sentinel.table import open_source, this_cloud
from tradewind.clusters.sentinel.watch import Sentinel
from tradewind.errors import ConflictError, TradewindError

_log = logging.getLogger("tradewind.clusters.sentinel")


def main(words: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    given = _parser().parse_args(words)
    try:
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
    return parser


def _watch(given: argparse.Namespace) -> None:
    cloud = given.cloud or this_cloud() or "none"
    sources: list[Source] = [DrillNotices()]
    if cloud != "none":
        sources.append(open_source(cloud, given.metadata))
    try:
        with only_one():
            Sentinel(sources, partial(find_raylets, address=given.address, pid=given.raylet)).run()
    except TakenError as exc:
        raise ConflictError("a sentinel runs here already") from exc


if __name__ == "__main__":
    sys.exit(main())
