"""What users see while replicas come, change, leave and die on a real Ray Serve.

    .venv/bin/python benchmarks/serving_churn.py [--requests 10000]

Clients ask the front of an endpoint of the `echo` engine, for streams and whole answers by chance, each again as soon
as it is answered, while in one phase after another nothing happens, replicas are added and taken away, new versions of
the model are deployed, replicas get SIGTERM, and replicas get SIGKILL. A request counts in the phase in which it began,
and nothing is done to replicas in a phase before all requests of the one before are over. An answer is whole with
status 200 and, of a stream, its last event; a stream that ends without it was cut. Prints a line for each phase and one
for each request that was lost, with what happened to replicas about then, and as its last line everything as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

import tradewind as tw
from benchmarks.machine import describe_machine
from tests.serving.listening import process_at
from tradewind.registry import Models
from tradewind.serving import Endpoint, free_port
from tradewind.serving.application import application
from tradewind.serving.endpoint import quiet, run
from tradewind.serving.model_files import ModelFiles

CLIENTS = 12
LAW = {"first_s": 0.02, "each_s": 0.005}
TOKENS = (8, 24)
"""Of an answer, at the least and at the most: clients of one length would keep step, and all stream at one time."""
PATIENCE_S = 120.0
MOST_REPLICAS = 4
SHARES = {"nothing": 0.1, "scaled": 0.25, "redeployed": 0.25, "SIGTERM": 0.15, "SIGKILL": 0.25}
"""Of all requests, the least that a phase has."""
EVENTS = 3
"""In a phase, at the least."""
DRAINS = ("scaled", "redeployed", "SIGTERM")
WHY_BYTES = 300
ABOUT_S = 1.0
"""Before a lost request began, and after it ended: what is told of the replicas."""


@dataclass
class Lost:
    """A request without a whole answer. Times are seconds since the run began."""

    phase: str
    streams: bool
    began_s: float
    ended_s: float
    status: int | None
    """None where no answer had begun."""
    answer_bytes: int
    why: str
    """The exception, or the end of the answer; the front names the replica that has gone."""

    @property
    def is_cut(self) -> bool:
        """A stream that had begun."""
        return self.streams and self.answer_bytes > 0 and self.status == 200


@dataclass
class Phase:
    """What came of the requests that began in it."""

    name: str
    events: int = 0
    begun: int = 0
    whole: int = 0
    lost: list[Lost] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Those that are over."""
        return self.whole + len(self.lost)

    @property
    def is_over(self) -> bool:
        return self.begun == self.requests

    @property
    def cut(self) -> int:
        return sum(one.is_cut for one in self.lost)

    @property
    def failed(self) -> int:
        return len(self.lost) - self.cut

    def told(self) -> dict[str, Any]:
        times = sorted(self.times_s)
        return {
            "phase": self.name,
            "events": self.events,
            "requests": self.requests,
            "cut": self.cut,
            "failed": self.failed,
            "p50_ms": round(1000 * times[len(times) // 2], 1),
            "p99_ms": round(1000 * times[int(0.99 * len(times))], 1),
            "longest_ms": round(1000 * times[-1], 1),
        }


def main() -> None:
    requests = _arguments().requests
    with tempfile.TemporaryDirectory() as folder, tw.Workspace(folder) as place, quiet():
        models = Models(place.store)
        for version in (b"{}", b"{ }"):
            files: dict[str, bytes | Path] = {"config.json": version}
            models.add("pilot", files, parents=(), family="x", parameters=1, context=64, heldout_loss=None, card={})
        wish = {"name": "chat", "model": "pilot@1", "engine": "echo", "engine_settings": LAW, "replicas": 2}
        endpoint = place.serve(tw.ServeSpec.of(**wish, port=free_port(18000), drain_s=20))
        diary = Diary()
        phases = _phases(place, endpoint, requests, diary)
        endpoint.stop()
    for phase in phases:
        print(phase.told())
        for lost in phase.lost:
            print("lost:", asdict(lost), *diary.about(lost), sep="\n    ")
    print(json.dumps({**_told(phases), "diary": list(diary.lines())}))


def _phases(place: tw.Workspace, endpoint: Endpoint, requests: int, diary: Diary) -> list[Phase]:
    churn = Churn(place, endpoint, diary)
    acts: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "scaled": churn.scale,
        "redeployed": churn.redeploy,
        "SIGTERM": lambda: churn.end_one("terminate"),
        "SIGKILL": lambda: churn.end_one("kill"),
    }
    found: list[Phase] = []
    with Load(endpoint.url, diary) as load, _repeated(churn.watch):
        for name, act in acts.items():
            phase = load.begin(name)
            _wait(lambda: not found or found[-1].is_over)
            least, events = SHARES[name] * requests, 0 if name == "nothing" else EVENTS
            while phase.requests < least or phase.events < events:
                if events and phase.requests >= phase.events * least / events:
                    phase.events += 1
                    act()
                time.sleep(0.1)
            churn.settle()
            found.append(phase)
    return found


def _told(phases: list[Phase]) -> dict[str, Any]:
    drains = [phase for phase in phases if phase.name in DRAINS]
    requests = sum(phase.requests for phase in phases)
    return {
        "targets": {
            "requests": {"value": requests, "target": 10_000, "better": "higher"},
            "failed or cut while replicas drain": {
                "value": sum(len(one.lost) for one in drains),
                "target": 0,
                "better": "lower",
            },
            "cut by kills, of all requests": {
                "value": sum(phase.cut for phase in phases) / requests,
                "target": 0.001,
                "better": "lower",
            },
            "failed before they had begun": {
                "value": sum(phase.failed for phase in phases),
                "target": 0,
                "better": "lower",
            },
        },
        "phases": [phase.told() for phase in phases],
        "lost": [asdict(lost) for phase in phases for lost in phase.lost],
        "machine": describe_machine(),
        "ray": metadata.version("ray"),
    }


class Diary:
    """What was done to replicas and what the front then knew of them, each with its second since the run began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lines: list[tuple[float, str]] = []
        self._known: dict[str, str] = {}

    def now_s(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def note(self, what: str) -> None:
        self._lines.append((self.now_s(), what))

    def see(self, states: dict[str, str]) -> None:
        """Note what has changed since the last look."""
        for replica in states.keys() | self._known.keys():
            state = states.get(replica, "off the board")
            if state != self._known.get(replica):
                self.note(f"{replica}: {state}")
        self._known = states

    def about(self, lost: Lost) -> Iterator[str]:
        return self.lines(lost.began_s - ABOUT_S, lost.ended_s + ABOUT_S)

    def lines(self, first_s: float = 0.0, last_s: float = math.inf) -> Iterator[str]:
        return (f"{second} {what}" for second, what in self._lines if first_s <= second <= last_s)


class Churn:
    """What is done to the replicas, each time until they are as many as wanted again."""

    def __init__(self, place: tw.Workspace, endpoint: Endpoint, diary: Diary) -> None:
        self._place = place
        self._endpoint = endpoint
        self._diary = diary
        self._wish = tw.ServeSpec.of(**endpoint.record.spec)

    def scale(self) -> None:
        """Two more, or two less."""
        self._deploy(replicas=MOST_REPLICAS + 2 - self._wish.replicas)

    def redeploy(self) -> None:
        """The other version of the model."""
        before = self._ready()
        self._deploy(model="pilot@2" if self._wish.model == "pilot@1" else "pilot@1")
        _wait(lambda: not before & self._ready())
        self.settle()

    def end_one(self, how: str) -> None:
        victim = sorted(self._ready())[0]
        (known,) = (one for one in self._endpoint.replicas() if one["replica"] == victim)
        process = process_at(known["url"])
        self._diary.note(f"{how} {victim}, where {known['open']} requests are open")
        getattr(process, how)()
        _wait(lambda: victim not in self._ready())
        self.settle()

    def settle(self) -> None:
        _wait(lambda: len(self._ready()) == self._wish.replicas)

    def _deploy(self, **changes: Any) -> None:
        self._diary.note(f"deploy {changes}")
        self._wish = self._wish.with_values(**changes)
        files = ModelFiles.of(self._place.store, self._wish.model)
        run(application(self._wish, self._place.store, files, is_own=True), self._wish.name)
        self.settle()

    def watch(self) -> None:
        """Have the diary tell what the front knows."""
        found = self._endpoint.replicas()
        self._diary.see({one["replica"]: "refuses" if one["refused"] else one["status"] for one in found})

    def _ready(self) -> set[str]:
        found = self._endpoint.replicas()
        return {
            one["replica"] for one in found if one["status"] == "ready" and not one["refused"] and one["silent_s"] < 3
        }


class Load:
    """Clients in a thread with an event loop of its own."""

    def __init__(self, url: str, diary: Diary) -> None:
        self._url = f"{url}/v1/completions"
        self._diary = diary
        self._phase = Phase("before")
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def begin(self, name: str) -> Phase:
        """Requests from now on are of this phase."""
        self._phase = Phase(name)
        return self._phase

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._ask_on(random.Random(number)))

    async def _ask_on(self, chance: random.Random) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            while not self._is_over.is_set():
                streams = chance.random() < 0.5
                await self._ask(client, self._phase, chance.randint(*TOKENS), streams=streams)

    async def _ask(self, client: httpx.AsyncClient, phase: Phase, tokens: int, *, streams: bool) -> None:
        body = {"model": "pilot", "prompt": "the quay at dawn", "max_tokens": tokens, "stream": streams}
        told, status, why = b"", None, ""
        phase.begun += 1
        began_s = self._diary.now_s()
        try:
            async with client.stream("POST", self._url, json=body) as answer:
                status = answer.status_code
                async for part in answer.aiter_raw():
                    told += part
        except httpx.HTTPError as exc:
            why = repr(exc)
        ended_s = self._diary.now_s()
        phase.times_s.append(ended_s - began_s)
        if not why and status == 200 and (not streams or told.endswith(b"data: [DONE]\n\n")):
            phase.whole += 1
        else:
            why = why or told[-WHY_BYTES:].decode(errors="replace")
            phase.lost.append(Lost(phase.name, streams, began_s, ended_s, status, len(told), why))


@contextmanager
def _repeated(work: Callable[[], None]) -> Iterator[None]:
    """Ten times a second in a thread."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.1):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _wait(what: Callable[[], object]) -> None:
    """Raises RuntimeError when it has not come about in two minutes."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            raise RuntimeError("the replicas are not as they should be")
        time.sleep(0.05)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
