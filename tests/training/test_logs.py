"""What workers say, kept in the workspace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.storage import open_store
from tradewind.training import logs
from tradewind.training.logs import LogReader, RunLog
from tradewind.training.run import RunFiles

OURS = logging.getLogger("tradewind.training.sample")
THEIRS = logging.getLogger("torch.sample")


@pytest.fixture
def files(tmp_path: Path) -> Iterator[RunFiles]:
    level = logging.getLogger("tradewind").level
    yield RunFiles(open_store(str(tmp_path)), "r1")
    logging.getLogger("tradewind").setLevel(level)


def said(files: RunFiles) -> list[tuple[str, str]]:
    return [(line.who, line.text) for line in LogReader(files).new()]


def test_first_rank_keeps_what_we_tell_and_what_libraries_warn_of(files: RunFiles) -> None:
    with RunLog(files, 0):
        OURS.info("2 layers")
        OURS.debug("trifles")
        THEIRS.info("trifles")
        THEIRS.warning("old driver")
    assert said(files) == [("rank 0", "info: 2 layers"), ("rank 0", "warning: old driver")]


def test_other_ranks_keep_warnings_alone(files: RunFiles) -> None:
    with RunLog(files, 3):
        OURS.info("2 layers")
        OURS.warning("slow disk")
    assert said(files) == [("rank 3", "warning: slow disk")]


def test_lines_of_several_processes_come_in_the_order_in_which_they_were_said(files: RunFiles) -> None:
    with RunLog(files, "driver"), RunLog(files, 0):
        OURS.warning("first")
        OURS.warning("second")
    lines = said(files)
    assert [text for _, text in lines] == ["warning: first", "warning: first", "warning: second", "warning: second"]
    assert {who for who, _ in lines} == {"driver", "rank 0"}


def test_error_that_ends_a_worker_is_kept_with_its_traceback(files: RunFiles) -> None:
    with pytest.raises(ValueError, match="wrong"), RunLog(files, 1):
        raise ValueError("wrong")
    ((who, text),) = said(files)
    assert who == "rank 1"
    assert text.startswith("error: ValueError: wrong\n    Traceback")


def test_reader_gives_each_line_once(files: RunFiles) -> None:
    reader = LogReader(files)
    with RunLog(files, 0):
        OURS.info("one")
    assert len(reader.new()) == 1
    with RunLog(files, 0):
        OURS.info("two")
    assert [line.text for line in reader.new()] == ["info: two"]


def test_talkative_worker_is_cut_short_and_says_so(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 200)
    with RunLog(files, 0):
        for number in range(10):
            OURS.info("line %d %s", number, "x" * 20)
    lines = said(files)
    kept = len(lines) - 1
    assert 1 <= kept < 10
    assert lines[-1] == ("rank 0", f"{10 - kept} lines more")
