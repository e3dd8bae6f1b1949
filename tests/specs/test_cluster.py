from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tradewind.errors import SpecError
from tradewind.specs import ClusterSpec, load

HEAD = {"place": "aws/us-west-2", "machine": "m7i.large"}
CPU = {"candidates": [{"place": "aws/us-west-2", "machine": "m6i.2xlarge"}]}
SITE = {"hosts": ["10.0.0.1"], "cpus": 8, "memory": "32GiB"}


def of(**values: Any) -> ClusterSpec:
    return ClusterSpec.of(**{"name": "harbour", "head": HEAD, "groups": {"cpu": CPU}, **values})


def test_name_head_and_groups_are_enough() -> None:
    spec = of()
    assert (spec.tagged_owner, spec.ttl_s, spec.idle_timeout_s, spec.max_usd_per_hour) == ("harbour", 86400, 300, 20)
    assert spec.groups["cpu"].candidates[0].market == "on_demand"


def test_places_are_named_once_and_the_head_comes_first() -> None:
    other = {"candidates": [{"place": "gcp/us-central1", "machine": "n2-standard-8"}]}
    assert of(groups={"cpu": CPU, "other": other}).places == ["aws/us-west-2", "gcp/us-central1"]


def test_whole_spec_reads_back(tmp_path: Path) -> None:
    spec = of(kubernetes={"job": {"entrypoint": "python train.py"}}, overlay={"endpoint": "head.example"})
    path = tmp_path / "a.spec.yaml"
    path.write_text(spec.to_yaml())
    assert load(path) == spec


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"head": {"place": "us-west-2", "machine": "m7i.large"}}, "'us-west-2' is not a place; write aws/us-west-2"),
        ({"head": {"place": "aws/us-west-2"}}, "a head in aws/us-west-2 needs `machine`"),
        ({"head": {"place": "onprem/berlin", "machine": "m7i.large"}}, "a head in onprem/berlin needs `host`"),
        ({"groups": {}}, "groups: "),
        ({"groups": {"cpu": {"candidates": []}}}, "groups.cpu.candidates: "),
        ({"groups": {"cpu": {**CPU, "min": 5, "max": 4}}}, "min 5 is over max 4"),
        (
            {"groups": {"cpu": {"candidates": [{"place": "aws/us-west-2"}]}}},
            "a candidate in aws/us-west-2 needs `machine` or `chip`",
        ),
        (
            {"groups": {"cpu": {"candidates": [{"place": "aws/us-west-2", "machine": "g6.xlarge", "chip": "L4"}]}}},
            "not both",
        ),
        (
            {"groups": {"cpu": {"candidates": [{"place": "onprem/berlin", "market": "spot"}]}}},
            "machines in onprem/berlin are what the site says",
        ),
        ({"sites": {"berlin": {**SITE, "chip": "L4"}}}, "chip and chips go together"),
        ({"image": "rayproject/ray:latest"}, "'rayproject/ray:latest' moves on by itself"),
        ({"image": "rayproject/ray:latest-py311"}, "moves on by itself"),
        ({"image": "rayproject/ray:nightly-py311"}, "moves on by itself"),
        ({"image": "registry:5000/ray"}, "'registry:5000/ray' has no tag"),
        ({"images": {"aws": "resolve:ssm:/ubuntu/22.04/stable/current/ami-id"}}, "moves on by itself"),
        ({"images": {"azure": "Canonical:ubuntu:22_04:latest"}}, "moves on by itself"),
        ({"ttl_s": 10}, "ttl_s: "),
        ({"max_usd_per_hour": 0}, "max_usd_per_hour: "),
        ({"groupz": {}}, "unknown key 'groupz' (did you mean 'groups'?)"),
    ],
)
def test_wrong_spec_is_refused_with_what_is_wrong(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        of(**values)
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    "image",
    ["rayproject/ray:2.60.0-py311", "rayproject/ray@sha256:" + "0" * 64, "registry:5000/ray:2.60.0"],
)
def test_digest_or_exact_tag_is_a_pin(image: str) -> None:
    assert of(image=image).image == image
