"""A Ray job that makes a dataset is killed, in parts or as a whole, and the same command makes the same dataset."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import tradewind as tw
from tradewind.records import Split
from tradewind.storage import open_store

pytestmark = pytest.mark.slow

SPEC = """
kind: dataset
name: shelf
text:
  files: ["{stdlib}/*.py", "{stdlib}/asyncio/*.py", "{stdlib}/email/*.py"]
tokenizer:
  vocabulary: 512
shard_bytes: 64KiB
"""


@dataclass(frozen=True)
class Build:
    """`tw datasets add --on ray` as a process of its own, with a Ray of its own."""

    folder: Path
    process: subprocess.Popen[str]

    def groups(self) -> list[str]:
        found = open_store(str(self.folder)).list("datasets/shelf/building")
        return [item.key for item in found if "/groups/" in item.key]

    def wait_for_groups(self, count: int) -> None:
        end = time.monotonic() + 120
        while len(self.groups()) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)

    def family(self) -> list[psutil.Process]:
        driver = psutil.Process(self.process.pid)
        return [driver, *driver.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Those that are at work now, or wait for work. Ray itself dies with its agents, so these are left alone."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                found += [process] if re.match(r"ray::(Map|IDLE)", " ".join(process.cmdline())) else []
        assert found
        return found

    def end(self) -> str:
        """What it said. It has to have gone well."""
        out, err = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, out + err
        return err


def start(folder: Path) -> Build:
    (folder.parent / "spec.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "tradewind", "datasets", "add", str(folder.parent / "spec.yaml"), "--on", "ray"]
    process = subprocess.Popen(
        [*command, "-w", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    return Build(folder, process)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(processes, timeout=30)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Split]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.yaml").write_text(SPEC)
    spec = tw.DatasetSpec.load(folder / "spec.yaml")
    return tw.Workspace(str(folder / "workspace")).datasets.add(spec, on="local").record.splits


def splits(folder: Path) -> dict[str, Split]:
    dataset = tw.Workspace(str(folder)).datasets.get("shelf")
    dataset.verify()
    return dataset.record.splits


def test_everything_is_killed_and_the_same_command_does_only_what_is_missing(
    tmp_path: Path, undisturbed: dict[str, Split]
) -> None:
    build = start(tmp_path / "workspace")
    build.wait_for_groups(4)
    kill(build.family())
    build.process.communicate()
    there = len(build.groups())
    assert list(tw.Workspace(str(build.folder)).datasets.list()) == []

    said = start(build.folder).end()
    found = re.search(r"shards: (\d+) of (\d+) groups were done before", said)
    assert found, said
    before, total = int(found[1]), int(found[2])
    assert 4 <= there == before < total
    assert f"read: {total} of {total} groups were done before" in said
    assert "tokenizer:" not in said
    assert splits(build.folder) == undisturbed
    assert build.groups() == []


def test_killed_workers_are_replaced_and_the_job_goes_on(tmp_path: Path, undisturbed: dict[str, Split]) -> None:
    build = start(tmp_path / "workspace")
    build.wait_for_groups(2)
    kill(build.workers())
    build.end()
    assert splits(build.folder) == undisturbed
