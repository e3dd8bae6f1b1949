from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from tradewind import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def in_terminal() -> Iterator[Terminal]:
    """Standard error as a terminal."""
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(Terminal()) as made:
        for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        yield made


def test_work_outside_a_terminal_is_one_line_at_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 175.0])
    with progress.track("train", total=10) as bar:
        bar.advance(3)
        bar.advance(4, note="step 7")
        bar.reach(10, note="step 10")
        assert capsys.readouterr().err == ""
    assert re.fullmatch(r"train: \d\.\d s, step 10\n", capsys.readouterr().err)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with progress.track("train"):
        pass
    assert capsys.readouterr() == ("", "train: 1 min 15 s\n")


def test_note_stays_until_there_is_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.track("train") as bar:
        bar.advance(1, note="loss 3.2")
        bar.advance(1)
        bar.reach(5)
        assert bar.note == "loss 3.2"
    assert capsys.readouterr().err.endswith(", loss 3.2\n")


def test_work_that_fails_is_not_said_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="adrift"), progress.track("train"):
        raise RuntimeError("adrift")
    assert capsys.readouterr() == ("", "")


def test_work_in_a_terminal_is_a_bar_with_its_note() -> None:
    with in_terminal() as terminal, progress.track("verify logbook@1", total=10) as bar:
        bar.advance(5, note="log: /tmp/[bold]/x")
        bar.reach(8, total=20)
    shown = terminal.getvalue()
    assert "verify logbook@1" in shown
    assert "log: /tmp/[bold]/x" in shown
    assert "━" in shown


def test_work_of_unknown_length_in_a_terminal_ends_full() -> None:
    with in_terminal() as terminal, progress.track("start Ray"):
        pass
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).rstrip().splitlines()[-1]
    assert re.search("━{8,}", last)


def test_bar_without_a_display_takes_what_it_is_told() -> None:
    bar = progress.Bar()
    bar.advance(3, note="a")
    bar.reach(5, total=9, note="b")
    assert bar.note == "b"


@pytest.mark.parametrize(
    "text", ["[bold]not markup[/]", "a :warning: is no picture", "x" * 500, "file:///a:b:c", '{"error": [1, 2]}']
)
def test_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    progress.print_line(text)
    assert capsys.readouterr() == ("", f"{text}\n")
