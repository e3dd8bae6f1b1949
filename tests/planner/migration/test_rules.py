from __future__ import annotations

import csv
from importlib import resources

import pytest

from tradewind.planner.migration.differences import OF_CLOUDS
from tradewind.planner.migration.rules import VERDICTS, judge, judge_size

FOLDER = resources.files("tradewind.planner.migration")


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(FOLDER.joinpath(name).read_text(encoding="utf-8").splitlines()))


def test_every_rule_has_a_verdict_a_reason_and_a_version() -> None:
    for row in rows("rules.csv"):
        assert row["verdict"] in VERDICTS
        assert row["reason"]
        assert int(row["version"]) >= 1


def test_every_topic_has_a_rule_for_what_stays_the_same() -> None:
    topics = {row["topic"] for row in rows("rules.csv")}
    same = {row["topic"] for row in rows("rules.csv") if (row["to"], row["verdict"]) == ("same", "no-op")}
    assert topics == same


def test_no_rule_hides_behind_one_before_it() -> None:
    seen: set[tuple[str, str, str]] = set()
    for row in rows("rules.csv"):
        key = (row["topic"], row["from"], row["to"])
        assert key not in seen
        assert (row["topic"], "*", "*") not in seen, f"{key} is never reached"
        seen.add(key)


def test_every_fact_of_a_cloud_has_a_source_and_big_clouds_have_them_all() -> None:
    facts = rows("clouds.csv")
    assert all(row["source"] for row in facts)
    for cloud in ("aws", "gcp", "azure"):
        assert {row["topic"] for row in facts if row["cloud"] == cloud} >= {*OF_CLOUDS, "spot_notice_s", "leaving"}


@pytest.mark.parametrize(
    ("topic", "before", "after", "verdict"),
    [
        ("runtime", "cuda", "cuda", "no-op"),
        ("runtime", "cuda", "rocm", "blocker"),
        ("runtime", "neuron", "cuda", "blocker"),
        ("chip", "H100-SXM", "H200-SXM", "risk"),
        ("precision", "fp8", "absent", "risk"),
        ("precision", "bf16", "absent", "blocker"),
        ("link", "NVLink4", "NVLink5", "no-op"),
        ("link", "NVLink4", "PCIe5/NVLink bridge", "risk"),
        ("fabric", "efa", "efa", "no-op"),
        ("fabric", "efa", "tcpx", "risk"),
        ("storage", "s3", "gs", "no-op"),
        ("storage", "s3", "oss", "risk"),
        ("image", "AMI", "Azure image", "blocker"),
        ("residency", "US", "DE", "risk"),
    ],
)
def test_words_are_judged(topic: str, before: str, after: str, verdict: str) -> None:
    assert judge(topic, before, after).verdict == verdict


@pytest.mark.parametrize(("before", "after"), [("", "tcpx"), ("efa", ""), ("", "")])
def test_what_is_not_known_is_a_risk(before: str, after: str) -> None:
    found = judge("fabric", before, after)
    assert found.verdict == "risk"
    assert "not known" in found.reason
    assert judge_size("memory", None, 1.0, unit=1, name="B").verdict == "risk"


def test_what_no_rule_knows_is_a_risk() -> None:
    assert judge("fabric", "efa", "pigeons").verdict == judge("weather", "rain", "sun").verdict == "risk"


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [(80, 80, "no-op"), (80, 80.5, "no-op"), (80, 141, "no-op"), (141, 80, "risk")]
)
def test_sizes_are_judged_by_what_is_lost(before: float, after: float, verdict: str) -> None:
    assert judge_size("chip_memory", before, after, unit=1, name="GiB").verdict == verdict


def test_sizes_are_shown_with_their_unit() -> None:
    found = judge_size("memory", 2.0**41, 2.0**30, unit=2.0**30, name="GiB")
    assert (found.before, found.after) == ("2,048 GiB", "1 GiB")
