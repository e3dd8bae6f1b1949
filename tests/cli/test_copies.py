from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tw
from tradewind.workspace import Workspace


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRADEWIND_PLACE", "aws/us-east-1")


def test_copy_is_made_listed_metered_and_dropped(tw: Tw, own: Path, tmp_path: Path) -> None:
    target = (tmp_path / "copy").as_uri()
    made = tw("datasets", "replicate", "pystdlib", target, "--place", "gcp/us-east1", "-w", own)
    assert made.exit_code == 0, made.err
    assert made.out == f"{target} (gcp/us-east1) holds pystdlib@1\n"
    listed = tw("datasets", "copies", "pystdlib", "-w", own)
    assert f"{target}  gcp/us-east1" in " ".join(listed.out.split("\n")) or "gcp/us-east1" in listed.out
    (record,) = tw("datasets", "copies", "pystdlib", "-w", own, "--json").json
    assert (record["url"], record["versions"], record["place"]["cloud"]) == (target, [1], "gcp")
    used = tw("usage", "-w", own)
    assert "transfer over internet" in used.out
    rows = [row for row in tw("usage", "-w", own, "--json").json if row["activity"] == "transfer"]
    assert [(row["boundary"], row["store"], row["usd"]) for row in rows] == [("internet", target, rows[0]["usd"])]
    assert rows[0]["num_bytes"] > 0
    assert rows[0]["usd"] == pytest.approx(rows[0]["num_bytes"] * 0.09e-9, abs=1e-9)
    dropped = tw("datasets", "drop-copy", "pystdlib", target, "--delete", "--yes", "-w", own)
    assert dropped.out == f"{target} is no copy of pystdlib any more, and is empty of it\n"
    assert tw("datasets", "copies", "pystdlib", "-w", own).out.startswith("pystdlib has no copies; make one:")
    assert [path for path in (tmp_path / "copy").rglob("*") if path.is_file()] == []


def test_deleting_asks_first(tw: Tw, own: Path, tmp_path: Path) -> None:
    answer = tw("datasets", "drop-copy", "pystdlib", tmp_path / "copy", "--delete", "-w", own)
    assert (answer.exit_code, "needs a yes" in answer.err) == (2, True)


def test_folder_is_where_this_machine_is_unless_it_is_said_otherwise(tw: Tw, own: Path, tmp_path: Path) -> None:
    (record,) = tw("datasets", "replicate", "pystdlib", tmp_path / "copy", "-w", own, "--json").json
    assert record["place"]["cloud"] == "local"


def test_place_that_is_not_known_is_pointed_out(tw: Tw, own: Path, moto_s3: str) -> None:
    made = tw("datasets", "replicate", "pystdlib", f"{moto_s3}/cli-copies", "-w", own)
    assert made.exit_code == 0, made.err
    assert "its place is not known, so reading from it counts as the dearest; say where it is: --place" in made.out


def test_places_that_do_not_fit_the_stores_are_refused(tw: Tw, own: Path, tmp_path: Path) -> None:
    urls = [tmp_path / name for name in "abc"]
    answer = tw("datasets", "replicate", "pystdlib", *urls, "--place", "aws/a", "--place", "aws/b", "-w", own)
    assert (answer.exit_code, answer.err.splitlines()[0]) == (2, "error: 2 places for 3 stores")


def test_budget_is_set_shown_and_kept(tw: Tw, own: Path, tmp_path: Path) -> None:
    assert tw("datasets", "budget", "-w", own).out == "no limit is set; set one: tw datasets budget USD\n"
    assert tw("datasets", "budget", "-w", own, "--json").json == {"limit_usd": None, "spent_or_reserved_usd": 0.0}
    shown = tw("datasets", "budget", "0.0000001", "-w", own)
    assert "left" in shown.out
    words = ("datasets", "replicate", "pystdlib", (tmp_path / "copy").as_uri(), "--place", "gcp/us-east1", "-w", own)
    refused = tw(*words)
    assert refused.exit_code == 1
    assert "of the egress budget of $1e-07 is spent or set aside" in refused.err
    assert "tw datasets budget" in refused.err
    assert tw("datasets", "budget", 1, "-w", own, "--json").json["limit_usd"] == 1.0
    assert tw(*words).exit_code == 0


def test_workspace_sets_the_budget_for_all_that_use_it(own: Path) -> None:
    Workspace(str(own), egress_budget_usd=2.5)
    account = Workspace(str(own)).egress_budget.account()
    assert account is not None
    assert account.limit_nusd == 2_500_000_000
