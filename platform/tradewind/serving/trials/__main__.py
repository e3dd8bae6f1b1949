"""A replica alone, for `berth`: its wish is a line of JSON on standard input, its answer one on a file descriptor."""

from __future__ import annotations

import json
import os
import sys

from tradewind.errors import TradewindError
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.replica import ReplicaPlan, Running
from tradewind.serving.report import ReplicaReport
from tradewind.specs import ServeSpec
from tradewind.storage import open_store


def main() -> None:
    wish = json.loads(sys.stdin.buffer.readline())
    with os.fdopen(int(sys.argv[1]), "wb") as told:
        try:
            spec, store = ServeSpec.of(**wish["spec"]), open_store(wish["store"])
            plan = ReplicaPlan(spec, store, ModelFiles.of(store, spec.model), team=wish["team"])
            running = Running(plan, name=spec.name, front=_NoFront())
        except TradewindError as exc:
            told.write(json.dumps(exc.to_dict()).encode())
            return
        told.write(json.dumps({"url": running.url, "model": plan.names[0]}).encode())
    sys.stdin.buffer.read()
    running.drain(0)


class _NoFront:
    def report(self, report: ReplicaReport) -> None: ...

    def leave(self, replica: str) -> None: ...


if __name__ == "__main__":
    main()
