"""A replica in a process of its own, as in Serve, without Ray: up in the time that its engine takes.

The process is told what to serve on its standard input, and ends when that is closed, so also when its parent dies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from tradewind import errors, progress
from tradewind.errors import RunError, TradewindError
from tradewind.specs import ServeSpec
from tradewind.storage import Store

MODULE = "tradewind.serving.trials"
END_WITHIN_S = 30.0
LAST_LINES = 60
"""Of its log: the first error of vLLM's processes is among them."""


@dataclass(frozen=True)
class Berth:
    """A replica that answers."""

    url: str
    model: str
    """What requests call its model."""
    context: int
    start_s: float


@contextmanager
def berth(store: Store, spec: ServeSpec, *, team: str = "") -> Iterator[Berth]:
    """A replica until the block ends. Raises what its engine raises at the start, RunError when its process ends.

    What it wrote last is shown when something fails, there or in the block.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as log, _shown_on_failure(log), _process(log) as (process, told):
        assert process.stdin
        wish = {"spec": spec.model_dump(mode="json"), "store": store.url, "team": team}
        process.stdin.write(json.dumps(wish).encode() + b"\n")
        process.stdin.flush()
        answer = _read(told, log)
        with urllib.request.urlopen(f"{answer['url']}/replica", timeout=10) as known:  # noqa: S310 - our own http URL
            context = json.load(known)["context"]
        yield Berth(answer["url"], answer["model"], context, time.monotonic() - began)


@contextmanager
def _shown_on_failure(log: IO[bytes]) -> Iterator[None]:
    try:
        yield
    except TradewindError:
        for line in _lines(log)[-LAST_LINES:]:
            progress.print_line(f"  {line}")
        raise


@contextmanager
def _process(log: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The process, and what it says besides its log. A session of its own: Ctrl-C is for the parent."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told:
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", MODULE, str(writing)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writing,), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(writing)
        try:
            yield process, told
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=END_WITHIN_S)  # closes its standard input
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(told: IO[bytes], log: IO[bytes]) -> dict[str, Any]:
    line = told.readline()
    if not line:
        lines = _lines(log) or ["without a word"]
        raise RunError(f"the replica ended before it answered: {lines[-1].strip()}")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        kind: type[TradewindError] = getattr(errors, answer["error"])
        raise kind(answer["message"], hint=answer["hint"])
    return answer


def _lines(log: IO[bytes]) -> list[str]:
    log.seek(0)
    return [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
