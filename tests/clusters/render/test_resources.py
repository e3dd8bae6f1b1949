from __future__ import annotations

import pytest

from tradewind.catalog import load_catalog
from tradewind.clusters.render.resources import Resources, accelerator_type


def test_ray_gets_processors_most_of_the_memory_and_the_kind_of_chip() -> None:
    found = Resources(4, 16 * 2**30, "L4", 1).to_ray()
    assert found == {"CPU": 4, "memory": 12 * 10**9, "GPU": 1, "accelerator_type:L4": 1}


def test_machine_without_chips_promises_none() -> None:
    assert set(Resources(4, 16 * 2**30).to_ray()) == {"CPU", "memory"}


@pytest.mark.parametrize(
    ("chip", "name"),
    [
        ("H100-SXM", "H100"),
        ("H100-NVL", "H100"),
        ("A100-SXM-80GB", "A100"),
        ("A100-PCIe-80GB", "A100"),
        ("V100-SXM-16GB", "V100"),
        ("RTX-PRO-6000", "RTX-PRO-6000"),
        ("MI300X", "AMD-Instinct-MI300X-OAM"),
    ],
)
def test_chip_has_the_name_that_ray_finds_on_the_machine(chip: str, name: str) -> None:
    from ray.util.accelerators import accelerators

    assert accelerator_type(chip) == name
    assert name in vars(accelerators).values()


def test_chips_of_the_catalogue_that_ray_has_no_name_for_are_these() -> None:
    from ray.util.accelerators import accelerators

    known = {name for name in vars(accelerators).values() if isinstance(name, str)}
    offered = [offer.chip for offer in load_catalog().all_offers if offer.chip and offer.chip.kind == "gpu"]
    names = {chip.name for chip in offered if chip.vendor in ("nvidia", "amd")}
    unknown = {name for name in names if accelerator_type(name) not in known}
    assert unknown == {"A10", "RTX-PRO-4500", "Radeon-Pro-V520", "T4g"}


def test_machine_covers_what_it_has_and_less() -> None:
    machine = Resources(8, 32 * 2**30, "L4", 1)
    assert machine.covers(Resources(4, 16 * 2**30, "L4", 1))
    assert not machine.covers(Resources(16, 16 * 2**30, "L4", 1))
    assert not machine.covers(Resources(4, 16 * 2**30))
