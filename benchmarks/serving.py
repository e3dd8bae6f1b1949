"""What serving costs around an engine: the bare server, a replica's own port, and the front before it.

    python benchmarks/serving.py                                      # the echo engine, 5 ms a token
    python benchmarks/serving.py --each-s 0                           # no time in the engine: the costs alone
    python benchmarks/serving.py --vllm-python ~/vllm/bin/python      # ray.serve.llm beside it, where vLLM is

The engine's law: the first of 16 tokens after `--each-s`, each further one as long after the one before. All take
turns within each round, in another order each time; what is said of one is the median of its rounds, and `ratio` the
median of its rate by that of the bare server in the same round. Every answer is counted; a wrong one shows.
Processor seconds are of the process that is added, for 1,000 answers. The last line is everything as JSON, with what
has a target: the rates at 32 streams of an engine of 5 ms, and how long a slot is held for a client that is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

sys.path[0] = str(Path(__file__).parents[1])  # this file's folder has modules of names that are not meant

from benchmarks.machine import describe_machine, load

if TYPE_CHECKING:
    from tradewind.specs import ServeSpec

CLIENT = Path(__file__).with_name("serving_client.py")
START_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 120.0
SLOTS = 256
EACH_S = 0.005
OURS = ("replica", "in Ray")
"""What has a target for its rate beside the bare server's, at 32 streams of an engine of `EACH_S`."""
FIGURES = ("per_s", "ttft_p50_ms", "ttft_p99_ms", "latency_p50_ms", "latency_p99_ms", "itl_p50_ms")


@dataclass
class Subject:
    """What is measured, at one address."""

    name: str
    url: str
    """With the path up to `/chat/completions`."""
    model: str
    process: psutil.Process | None = None
    events: int = 0
    """Of one stream: found out before the first round."""

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def path(self) -> str:
        return f"{urlsplit(self.url).path}/chat/completions"

    def processor_s(self) -> float:
        if self.process is None:
            return 0.0
        family = [self.process, *self.process.children(recursive=True)]
        return sum(times.user + times.system for times in (one.cpu_times() for one in family))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", default="1,8,32,128")
    parser.add_argument("--modes", default="stream,unary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="of one run in a round")
    parser.add_argument("--each-s", type=float, default=EACH_S)
    parser.add_argument(
        "--in-ray", action="store_true", help="also what `tw serve` brings up: front and replica in Ray"
    )
    parser.add_argument("--vllm-python", help="interpreter of an environment with vLLM and ray[serve]")
    parser.add_argument("--batch-ms", default="50", help="of ray.serve.llm's streams; its default is 50")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        SERVED[given.serve](given.each_s)
        return
    results: dict[str, Any] = {
        "machine": describe_machine(),
        "versions": _versions(),
        "each_s": given.each_s,
        "cells": [],
    }
    with contextlib.ExitStack() as started:
        subjects = _subjects(started, given)
        for mode in given.modes.split(","):
            for concurrency in map(int, given.concurrency.split(",")):
                for cell in _measure(subjects, mode, concurrency, given.rounds, given.seconds):
                    results["cells"].append(cell)
                    print(_line(cell), flush=True)
        results["abandoned_ms"] = _abandon(subjects[2], subjects[1])
        print("slot free after a client has gone, ms:", results["abandoned_ms"], flush=True)
    results["load_after"] = load()
    print(json.dumps({"targets": targets(results), **results}))


def targets(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    is_meant = results["each_s"] == EACH_S
    cells = [one for one in results["cells"] if is_meant and (one["mode"], one["concurrency"]) == ("stream", 32)]
    peers = {cell["name"]: cell["ratio"] for cell in cells if cell["name"] not in ("bare", "front", *OURS)}
    found = {
        f"{cell['name']}, of bare at 32 streams": {
            "value": cell["ratio"],
            "target": 0.95,
            "better": "higher",
            "peers": peers,
        }
        for cell in cells
        if cell["name"] in OURS
    }
    most_ms = results["abandoned_ms"]["most"]
    return {**found, "slot free after a client has gone, ms": {"value": most_ms, "target": 200, "better": "lower"}}


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("tradewind", "uvicorn", "uvloop", "httptools", "fastapi", "ray")}


# One cell: a mode at a concurrency


def _measure(
    subjects: list[Subject], mode: str, concurrency: int, rounds: int, seconds: float
) -> Iterator[dict[str, Any]]:
    counts = {subject.name: _count(subject, mode, concurrency, seconds) for subject in subjects}
    runs: dict[str, list[dict[str, float]]] = {subject.name: [] for subject in subjects}
    for number in range(rounds):
        turn = number % len(subjects)
        for subject in subjects[turn:] + subjects[:turn]:
            before = subject.processor_s()
            run = _run(subject, mode, concurrency, counts[subject.name])
            run["processor_s"] = 1000 * (subject.processor_s() - before) / max(1, run["right"])
            runs[subject.name].append(run)
    bare = [run["per_s"] for run in runs[subjects[0].name]]
    for subject in subjects:
        own = runs[subject.name]
        ratios = [run["per_s"] / base for run, base in zip(own, bare, strict=True)]
        yield {
            "name": subject.name,
            "mode": mode,
            "concurrency": concurrency,
            **{figure: median(run[figure] for run in own) for figure in (*FIGURES, "processor_s")},
            "ratio": median(ratios),
            "ratio_least": min(ratios),
            "answers": sum(run["right"] for run in own),
            "wrong": sum(run["wrong"] for run in own),
            "load": load(),
        }


def _count(subject: Subject, mode: str, concurrency: int, seconds: float) -> int:
    """So many requests as take about `seconds`: found out with some, which warm everything up as well."""
    per_s = _run(subject, mode, concurrency, max(4, 2 * concurrency))["per_s"]
    return concurrency * max(1, round(per_s * seconds / concurrency))


def _run(subject: Subject, mode: str, concurrency: int, count: int) -> dict[str, float]:
    about = (subject.port, subject.path, subject.model, concurrency, count, mode, subject.events)
    command = [sys.executable, str(CLIENT), *map(str, about)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{subject.name}, {mode} at {concurrency}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _line(cell: dict[str, Any]) -> str:
    return (
        f"{cell['mode']:6} c={cell['concurrency']:<4} {cell['name']:14} {cell['per_s']:8.1f}/s "
        f"{cell['ratio']:.2f}x (least {cell['ratio_least']:.2f})  "
        f"ttft {cell['ttft_p50_ms']:.1f}/{cell['ttft_p99_ms']:.1f}  "
        f"latency {cell['latency_p50_ms']:.1f}/{cell['latency_p99_ms']:.1f}  itl {cell['itl_p50_ms']:.2f} ms  "
        f"cpu {cell['processor_s']:.2f} s/1k  right {cell['answers']} wrong {cell['wrong']}  load {cell['load']}"
    )


# A client that goes away


def _abandon(front: Subject, replica: Subject, times: int = 20) -> dict[str, float]:
    """Milliseconds from closing a client's connection to the front until the replica has nothing open."""
    body = json.dumps(
        {"model": front.model, "messages": [{"role": "user", "content": "a"}], "max_tokens": 4000, "stream": True}
    )
    head = f"POST {front.path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    found = []
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", front.port)) as client:
            client.sendall(f"{head}\r\n\r\n{body}".encode())
            while b"data: " not in client.recv(65536):
                pass
        began = time.perf_counter()
        while _open_requests(replica):
            pass
        found.append(1000 * (time.perf_counter() - began))
    return {"median": round(median(found), 1), "most": round(max(found), 1)}


def _open_requests(replica: Subject) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.port}/replica", timeout=RUN_TIMEOUT_S) as answer:
        count: int = json.load(answer)["open"]
    return count


# The subjects, each in a process of its own


def _subjects(started: contextlib.ExitStack, given: argparse.Namespace) -> list[Subject]:
    own = [sys.executable, __file__, "--each-s", str(given.each_s), "--serve"]
    bare = _start(started, "bare", [*own, "bare"])
    replica = _start(started, "replica", [*own, "replica"])
    before = [sys.executable, "-m", "tradewind.serving.front", "--port", "0", "--replica"]
    front = _start(started, "front", [*before, replica.url.removesuffix("/v1")])
    subjects = [bare, replica, front]
    if given.in_ray:
        subjects.append(_start(started, "in Ray", [*own, "ray"]))
    if given.vllm_python:
        peer = str(Path(__file__).parent / "peers" / "ray_serve_llm.py")
        command = [given.vllm_python, peer, str(given.each_s), str(_free_port()), given.batch_ms]
        subjects.append(_start(started, "ray.serve.llm", command))
    for subject in subjects:
        _wait_for(subject)
    return subjects


def _start(started: contextlib.ExitStack, name: str, command: list[str]) -> Subject:
    """A process that prints its address once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    started.callback(process.wait)
    started.callback(process.terminate)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("http://"):
            return Subject(name, f"{line.strip()}/v1", "echo", psutil.Process(process.pid))
    raise RuntimeError(f"{name} ended before it listened")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for(subject: Subject) -> None:
    """Until it answers a stream, whose events are counted."""
    body = {"model": subject.model, "messages": [{"role": "user", "content": "a b"}], "max_tokens": 16, "stream": True}
    url = f"{subject.url}/chat/completions"
    end = time.monotonic() + START_TIMEOUT_S
    while not subject.events:
        request = urllib.request.Request(  # noqa: S310 - the address is ours, or given by who measures
            url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=START_TIMEOUT_S) as answer:  # noqa: S310
                subject.events = answer.read().count(b"data: ")
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _serve_bare(each_s: float) -> None:
    """The engine's own app on uvicorn, as one would run it by hand."""
    import uvicorn

    from tradewind.engines import EngineSettings, engine
    from tradewind.serving.server import bind, url_of

    served = engine("echo")
    more = {"first_s": each_s, "each_s": each_s}
    served.start(Path(), EngineSettings(names=("echo",), max_concurrency=SLOTS, more=more))
    listener = bind("127.0.0.1")
    print(url_of(listener), flush=True)
    config = uvicorn.Config(served.app(), http="httptools", loop="uvloop", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


def _serve_replica(each_s: float) -> None:
    """What Ray Serve's actor runs, without Ray: gate, metering and reports included."""
    from tradewind.serving.model_files import ModelFiles
    from tradewind.serving.replica import ReplicaPlan, Running
    from tradewind.storage import open_store

    with tempfile.TemporaryDirectory() as folder:
        spec = _spec(Path(folder), each_s)
        store = open_store(str(Path(folder) / "workspace"))
        running = Running(ReplicaPlan(spec, store, ModelFiles.of(store, spec.model)), name="replica", front=_NoFront())
        _tell_and_wait(running.url)
        running.drain(0)


def _serve_in_ray(each_s: float) -> None:
    import tradewind as tw

    with tempfile.TemporaryDirectory() as folder, tw.Workspace(str(Path(folder) / "workspace")) as workspace:
        _tell_and_wait(workspace.serve(_spec(Path(folder), each_s)).url)


def _spec(folder: Path, each_s: float) -> ServeSpec:
    """An endpoint of the echo engine, which needs no model but a folder."""
    from tradewind.specs import ServeSpec

    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    law = {"first_s": each_s, "each_s": each_s}
    return ServeSpec(
        name="echo", model=str(model), engine="echo", port=_free_port(), max_concurrency=SLOTS, engine_settings=law
    )


def _tell_and_wait(url: str) -> None:
    """Print the address, and return at SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    print(url, flush=True)
    ended.wait()


class _NoFront:
    def report(self, report: object) -> None: ...

    def leave(self, replica: str) -> None: ...


SERVED = {"bare": _serve_bare, "replica": _serve_replica, "ray": _serve_in_ray}

if __name__ == "__main__":
    main()
