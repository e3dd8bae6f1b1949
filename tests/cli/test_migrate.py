"""`tw migrate estimate`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Tw
from tradewind.storage import open_store

ESTIMATE = ("migrate", "estimate")


def test_table_has_what_breaks_the_work_the_fee_and_the_bill(tw: Tw, empty: Path) -> None:
    answer = tw(*ESTIMATE, "--from", "aws", "--to", "gcp", "--gpu", "H100", "--data", "50TB", "-w", empty)
    assert answer.exit_code == 0, answer.err
    assert "aws/us-east-1, 1 × p5.48xlarge → gcp/" in answer.out
    assert answer.out.index("blocker") < answer.out.index("risk") < answer.out.index("no-op")
    assert "person-days (P80 " in answer.out
    assert "data: 45.5 TiB leave for $" in answer.out
    assert "machines, on demand, all 730 hours of a month: $40,179 → $" in answer.out
    assert "note: aws: fees of leaving for good are waived on request" in answer.out


def test_workspace_says_how_much_moves(tw: Tw, empty: Path) -> None:
    open_store(str(empty)).put("datasets/tides/data/1", b"x" * 5000)
    found = tw(*ESTIMATE, "--from", "aws", "--to", "gcp", "-w", empty, "--json").json
    assert found["data"]["num_bytes"] == 5000


def test_workspace_in_no_cloud_has_none_to_leave(tw: Tw, empty: Path) -> None:
    answer = tw(*ESTIMATE, "--to", "gcp", "-w", empty)
    assert (answer.exit_code, "is in no cloud" in answer.err, "--from aws" in answer.err) == (2, True, True)


def test_bucket_says_which_cloud_is_left(tw: Tw, moto_s3: str) -> None:
    answer = tw(*ESTIMATE, "--to", "azure", "--data", "1TB", "-w", f"{moto_s3}/leaving", "--json")
    assert answer.exit_code == 0, answer.err
    assert answer.json["wish"]["source"] == "aws"


def test_mistakes_name_the_nearest(tw: Tw, empty: Path) -> None:
    cloud = tw(*ESTIMATE, "--from", "aws", "--to", "gpc", "-w", empty)
    assert (cloud.exit_code, "did you mean 'gcp'?" in cloud.err) == (2, True)
    size = tw(*ESTIMATE, "--from", "aws", "--to", "gcp", "--data", "50 parsecs", "-w", empty)
    assert (size.exit_code, "--data: 'parsecs'" in size.err) == (2, True)
