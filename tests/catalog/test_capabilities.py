from __future__ import annotations

import pytest

from tradewind.catalog import load_catalog
from tradewind.catalog.capabilities import chip_can, instance_can
from tradewind.errors import NotFoundError


@pytest.mark.parametrize(
    ("chip", "capability", "answer"),
    [
        ("H100-SXM", "fp8", True),
        ("A100-SXM-80GB", "fp8", False),
        ("T4", "bf16", False),
        ("T4", "fp16", True),
        ("RTX4090", "fp8", None),
        ("H100-SXM", "nvlink", True),
        ("L40S", "nvlink", False),
        ("GH200", "nvlink", None),
    ],
)
def test_chip_can_do_what_its_sources_say(chip: str, capability: str, answer: bool | None) -> None:
    assert chip_can(load_catalog().chip(chip), capability) is answer


@pytest.mark.parametrize(
    ("cloud", "name", "capability", "answer"),
    [
        ("aws", "p5.48xlarge", "rdma", True),
        ("aws", "g5.xlarge", "rdma", False),
        ("gcp", "a2-highgpu-1g", "rdma", None),
        ("aws", "p5.48xlarge", "local_nvme", True),
        ("gcp", "a2-highgpu-1g", "local_nvme", None),
        ("aws", "p5.48xlarge", "whole_chips", True),
        ("aws", "m7i.xlarge", "whole_chips", False),
        ("aws", "g6f.large", "whole_chips", None),
    ],
)
def test_machine_can_do_what_its_sources_say(cloud: str, name: str, capability: str, answer: bool | None) -> None:
    assert instance_can(load_catalog().instance(cloud, name), capability) is answer


def test_unknown_word_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no capability named 'rdna' \(did you mean 'rdma'\?\)"):
        instance_can(load_catalog().instance("aws", "p5.48xlarge"), "rdna")
    with pytest.raises(NotFoundError, match="no capability named 'nvlnk'"):
        chip_can(load_catalog().chip("T4"), "nvlnk")
