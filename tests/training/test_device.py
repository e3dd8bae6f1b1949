"""Chips by the names that drivers give them."""

from __future__ import annotations

import pytest
import torch

from tradewind.catalog import load_catalog
from tradewind.training.device import chip_of, memory_used, peak_flops


@pytest.mark.parametrize(
    ("driver_name", "chip"),
    [
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIe-40GB"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("Tesla T4", "T4"),
        ("NVIDIA Riva 128", None),
    ],
)
def test_driver_name_finds_the_chip_of_the_catalogue(driver_name: str, chip: str | None) -> None:
    assert chip_of(driver_name, list(load_catalog().chips)) == chip


def test_processor_has_memory_and_no_known_peak() -> None:
    assert memory_used(torch.device("cpu")) > 2**20
    assert peak_flops(torch.device("cpu"), "bf16") is None
