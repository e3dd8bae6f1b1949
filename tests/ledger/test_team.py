from __future__ import annotations

import pytest

from tradewind.errors import SpecError
from tradewind.ledger import this_team


def test_team_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADEWIND_TEAM", raising=False)
    assert this_team() == ""
    monkeypatch.setenv("TRADEWIND_TEAM", "harbour-pilots")
    assert this_team() == "harbour-pilots"


@pytest.mark.parametrize("name", ["Pilots", "a/b", "..", "two words", "-x"])
def test_team_that_is_no_name_is_refused_with_the_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TRADEWIND_TEAM", name)
    with pytest.raises(SpecError, match=r"TRADEWIND_TEAM: .* is not a name"):
        this_team()
