"""What a chip or a machine can do, as far as it is known: True, False, or None for unknown, which is not False."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from tradewind.catalog.chip import Chip
from tradewind.catalog.instance import Instance
from tradewind.errors import NotFoundError, did_you_mean

T = TypeVar("T")

FORMATS = ("bf16", "fp16", "fp8", "fp4", "int8", "int4")


def chip_can(chip: Chip, capability: str) -> bool | None:
    """Whether a chip has a number format (`bf16`, `fp16`, `fp8`, `fp4`, `int8`, `int4`), or `nvlink`.

    Raises NotFoundError for another word.
    """
    if capability in FORMATS:
        return capability in chip.supports or capability in chip.flops if chip.supports or chip.flops else None
    return _of(CHIP, capability)(chip)


def instance_can(instance: Instance, capability: str) -> bool | None:
    """Whether a machine has `rdma`, `local_nvme` or `whole_chips`. Raises NotFoundError for another word."""
    return _of(INSTANCE, capability)(instance)


def _has_nvlink(chip: Chip) -> bool | None:
    return chip.link.startswith("NVLink") if chip.link else None


def _has_rdma(instance: Instance) -> bool | None:
    return instance.rdma != "no" if instance.rdma else None


def _has_local_nvme(instance: Instance) -> bool | None:
    """A disk of no size is never listed, so its absence says nothing."""
    return instance.local_disk_bytes > 0 if instance.local_disk_bytes is not None else None


def _has_whole_chips(instance: Instance) -> bool | None:
    return instance.chips > 0 if instance.chips is not None else None


CHIP: Mapping[str, Callable[[Chip], bool | None]] = {"nvlink": _has_nvlink}
INSTANCE: Mapping[str, Callable[[Instance], bool | None]] = {
    "rdma": _has_rdma,
    "local_nvme": _has_local_nvme,
    "whole_chips": _has_whole_chips,
}


def _of(table: Mapping[str, Callable[[T], bool | None]], capability: str) -> Callable[[T], bool | None]:
    if capability not in table:
        raise NotFoundError(f"no capability named {capability!r}{did_you_mean(capability, table)}")
    return table[capability]
