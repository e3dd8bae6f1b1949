from __future__ import annotations

import pytest

from tests.catalog.refresh.machines import GIB, machine
from tradewind.catalog.instance import Instance
from tradewind.catalog.refresh.gcp_machine import FAMILIES, Part, parts, things
from tradewind.catalog.refresh.gcp_sku import LOCAL_DISK

A2_ULTRA = machine(
    "gcp", "a2-ultragpu-2g", chip="A100-SXM-80GB", chips=2, vcpus=24, memory_gib=340, local_disk_bytes=750 * GIB
)


def test_a_machine_is_billed_for_cores_memory_disk_and_accelerators() -> None:
    assert parts(A2_ULTRA) == [
        Part(("A2 Instance Core",), 24),
        Part(("A2 Instance Ram",), 340),
        Part((LOCAL_DISK,), 750),
        Part(("Nvidia Tesla A100 80GB GPU",), 2),
    ]


def test_a_machine_without_accelerators_is_billed_for_cores_and_memory() -> None:
    found = parts(machine("gcp", "n1-standard-8", vcpus=8, memory_gib=30))
    assert found == [Part(("N1 Predefined Instance Core",), 8), Part(("N1 Predefined Instance Ram",), 30)]


def test_a_slice_of_a4_is_all_of_it() -> None:
    found = parts(machine("gcp", "a4-highgpu-8g", chip="B200-SXM", chips=8, vcpus=224, memory_gib=3968))
    assert found == [Part(("A4 Nvidia B200 (1 gpu slice)",), 8)]


def test_an_accelerator_that_is_attached_is_billed_alone() -> None:
    assert parts(machine("gcp", "gpu-T4 (attach to n1)", chip="T4", chips=1)) == [Part(("Nvidia Tesla T4 GPU",), 1)]


@pytest.mark.parametrize("piece", [375 * GIB, 375 * 10**9])
@pytest.mark.parametrize("count", [1, 2, 16, 32])
def test_pieces_of_local_disk_are_counted_in_either_unit(piece: int, count: int) -> None:
    found = parts(machine("gcp", "n2-standard-8", vcpus=8, memory_gib=32, local_disk_bytes=piece * count))
    assert found is not None
    assert found[-1] == Part((LOCAL_DISK,), 375 * count)


@pytest.mark.parametrize(
    "unknown",
    [
        machine("gcp", "a3-highgpu-8g", chip="H100-SXM", chips=None, vcpus=208, memory_gib=1872),
        machine("gcp", "a3-highgpu-8g", chip="H100-SXM", chips=8, vcpus=None, memory_gib=1872),
        machine("gcp", "a3-highgpu-8g", chip="H100-SXM", chips=8, vcpus=208),
        machine("gcp", "n2-standard-8", chip="H100-SXM", chips=8, vcpus=8, memory_gib=32),
        machine("gcp", "n2-standard-8", vcpus=8, memory_gib=32, local_disk_bytes=123),
        machine("gcp", "a3-edgegpu-8g", chip="H100-SXM", chips=8, vcpus=208, memory_gib=1872),
        machine("gcp", "g4-standard-48", chip="RTX-PRO-6000", chips=1, vcpus=48, memory_gib=180),
        machine("gcp", "ct6e-standard-4t", chip="TPU-v6e", chips=4, vcpus=180, memory_gib=720),
        machine("gcp", "z9-standard-8", vcpus=8, memory_gib=32),
        machine("gcp", ""),
    ],
)
def test_what_cannot_be_composed_has_no_parts(unknown: Instance) -> None:
    assert parts(unknown) is None


def test_every_part_of_every_family_is_looked_for() -> None:
    names = {name for family in FAMILIES.values() for name in family.accelerators}
    assert names | {LOCAL_DISK, "A3Plus Instance Core", "N2D AMD Instance Ram"} <= things()
