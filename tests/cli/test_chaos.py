from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tradewind.clusters.notices import current
from tradewind.clusters.sentinel.lock import only_one


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADEWIND_RUN", str(tmp_path / "run"))
    return tmp_path / "run"


def test_notice_reaches_the_sentinel_of_this_machine(tw: Tw, run_folder: Path) -> None:
    with only_one():
        answer = tw("chaos", "notice", "10min")
        assert "ends in 600 s" in answer.out
        assert (run_folder / "drill.json").exists()
        assert "no notice holds" in tw("chaos", "notice", "--withdraw").out
    assert not (run_folder / "drill.json").exists()
    assert current() is None


def test_notice_without_a_sentinel_is_refused(tw: Tw) -> None:
    answer = tw("chaos", "notice", "30s")
    assert answer.exit_code != 0
    assert "no sentinel runs here" in answer.err


@pytest.mark.parametrize("words", [(), ("30s", "--withdraw"), ("soon",)])
def test_notice_needs_a_time_or_is_taken_back(tw: Tw, words: tuple[str, ...]) -> None:
    answer = tw("chaos", "notice", *words)
    assert answer.exit_code == 2
    assert answer.err.startswith("error: ")
