from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.clusters.hybrid.journal import Journal


def test_without_a_workspace_records_are_in_the_home(home: Path) -> None:
    journal = Journal("harbour")
    journal.decide("end", "west/i-1", "Ray gave it back")
    assert journal.flush(10)
    (decision,) = Journal("harbour").decisions.all()
    assert (decision.id, decision.subject) == ("decision:harbour/1", "west/i-1")
    assert (home / ".tradewind-cluster" / "clusters" / "harbour" / "decisions" / "000000000001.json").exists()


def test_two_heads_write_into_one_workspace(tmp_path: Path) -> None:
    first, second = Journal("harbour", str(tmp_path / "work")), Journal("harbour", str(tmp_path / "work"))
    for number in range(5):
        first.decide("end", f"west/{number}", "")
        second.decide("end", f"east/{number}", "")
    assert first.flush(10)
    assert second.flush(10)
    subjects = [decision.subject for decision in first.decisions.all()]
    assert len(set(subjects)) == len(subjects) == 10
    assert [subject for subject in subjects if subject.startswith("west")] == [f"west/{number}" for number in range(5)]


def test_lost_launches_are_known_to_the_next_head() -> None:
    first = Journal("harbour")
    first.lose("t-1", "no answer")
    assert first.flush(10)
    second = Journal("harbour")
    assert second.lost_tokens() == {"t-1"}
    first.lose("t-2", "no answer")
    assert first.flush(10)
    assert second.lost_tokens() == {"t-1", "t-2"}
    assert Journal("dock").lost_tokens() == frozenset()


def test_deciding_goes_on_while_the_store_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    journal = Journal("harbour", str(tmp_path / "file" / "below"))
    journal.decide("over_cap", "cpu", "too dear")
    assert not journal.flush(0.2)
    assert "a record cannot be written to" in caplog.text
