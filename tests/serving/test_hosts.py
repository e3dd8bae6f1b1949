from __future__ import annotations

from typing import Any

import pytest

from tradewind.serving.hosts import Host, family_of, fastest_pace, largest_chip, suitable
from tradewind.specs import ServeSpec

CPU_ONLY = Host({"CPU": 8.0}, {"ray.io/node-id": "0"})


def spec(**changes: Any) -> ServeSpec:
    return ServeSpec.of(**({"name": "chat", "model": "pilot", "chips_per_replica": 1} | changes))


def gpu(word: str) -> Host:
    return Host({"GPU": 1.0}, {"ray.io/accelerator-type": word})


@pytest.mark.parametrize(
    ("word", "chip"),
    [
        ("H200", "H200-SXM"),
        ("H100", "H100-NVL"),
        ("A100-40G", "A100-SXM-80GB"),
        ("AMD-Instinct-MI300X-OAM", "MI300X"),
        ("L4", "L4"),
        ("GeForce-Something", None),
        ("", None),
    ],
)
def test_rays_word_is_the_catalogues_largest_chip_of_that_family(word: str, chip: str | None) -> None:
    found = largest_chip(word)
    assert (found.name if found else None) == chip


def test_family_is_the_same_for_both_names() -> None:
    assert family_of("AMD-Instinct-MI300X-OAM") == family_of("MI300X") == "MI300X"


def test_kind_of_node_to_come_says_its_chip_by_a_resource() -> None:
    host = Host({"GPU": 8.0, "accelerator_type:L40S": 1.0})
    assert host.accelerator == "L40S"
    assert host.chip() == largest_chip("L40S")


def test_pace_is_the_bandwidth_of_all_chips_of_a_replica() -> None:
    assert gpu("L4").pace(spec()) == 300e9
    assert gpu("H200").pace(spec(chips_per_replica=None, parallel={"tensor": 4})) == 4 * 4.8e12
    assert gpu("unheard-of").pace(spec()) is None
    assert CPU_ONLY.pace(spec(chips_per_replica=0)) is None


def test_fastest_is_one_that_the_spec_may_get() -> None:
    pool = [gpu("L4"), gpu("H200"), gpu("unheard-of"), CPU_ONLY]
    assert fastest_pace(spec(), pool) == 4.8e12
    assert fastest_pace(spec(where={"chips": ["L4"]}), pool) == 300e9
    assert fastest_pace(spec(), [CPU_ONLY]) is None


def test_node_that_says_nothing_yet_may_have_what_is_wanted() -> None:
    to_come, other = Host({"GPU": 8.0}), Host({"GPU": 8.0}, {"ray.io/node-id": "1"})
    assert suitable(spec(where={"chips": ["H100"]}), [to_come, other, gpu("H100")]) == [to_come, gpu("H100")]
