"""The command line in this process, and a workspace with one of everything."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.reports.conftest import RUN, journey
from tests.samples import dataset_spec, write_text
from tradewind.cli import main
from tradewind.records import EndpointState, ProcessName
from tradewind.storage import RecordLog
from tradewind.training import Run
from tradewind.workspace import Workspace

MODEL_FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


@dataclass(frozen=True)
class Answer:
    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Tw = Callable[..., Answer]


@pytest.fixture
def tw(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tw:
    """What `tw` says to some words, and what it exits with."""
    monkeypatch.delenv("TRADEWIND_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["tw", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        return Answer(int(left.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path / "empty"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after a journey. It is read by many tests, and changed by none."""
    return fill(tmp_path_factory.mktemp("cli") / "workspace")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The same for one test to change."""
    return fill(tmp_path / "own")


def fill(folder: Path) -> Path:
    place = Workspace(str(folder))
    place.datasets.add(dataset_spec(write_text(folder.parent / "text", documents=8, words=120), name="pystdlib"))
    story = journey()
    run = Run(place.store, RUN)
    place.store.create(run.files.key("run.json"), story.start.to_json())
    lines = "\n".join(row.model_dump_json() for row in story.metrics[::20])
    place.store.put(run.files.key("metrics/1.jsonl"), lines.encode())
    for one in story.checkpoints:
        place.store.create(run.files.key(f"checkpoints/{one.step:09d}.json"), one.to_json())
    run.finish("finished", bigram_loss=4.871)
    place.models.add(
        "pilot",
        MODEL_FILES,
        parents=(f"run:{RUN}",),
        family="llama",
        parameters=1234,
        context=64,
        heldout_loss=3.25,
        card={},
    )
    place.models.promote("pilot", alias="prod")
    record_endpoint(place, "chat", pid=os.getpid(), host="elsewhere")
    record_endpoint(place, "left", pid=os.getpid(), host=socket.gethostname())
    place.ledger.record(story.usage)
    return folder


def record_endpoint(place: Workspace, name: str, *, pid: int, host: str) -> None:
    """An endpoint of a process that started long ago: one of another machine is up, one of this is gone."""
    RecordLog(place.store, f"endpoints/{name}", EndpointState).append(
        lambda change, writer: EndpointState(
            name=name,
            change=change,
            writer=writer,
            status="up",
            url="http://127.0.0.1:8000",
            model="pilot@1",
            engine="transformers",
            process=ProcessName(host=host, pid=pid, started=1.0),
            spec={},
        )
    )
