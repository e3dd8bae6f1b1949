"""What Google's machine types are made of, in the words of its SKUs: cores, memory, accelerators and local disk.

Compute Engine bills no machine but its parts: cloud.google.com/compute/vm-instance-pricing. The sums agree with the
prices of machines in the shipped list: `a2-highgpu` and `a2-megagpu` to the last digit, with rates of 2023.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tradewind.catalog.instance import Instance
from tradewind.catalog.refresh.gcp_sku import LOCAL_DISK

GIB = 2**30
DISK_GIB = 375
"""The pieces that local disks are sold in: cloud.google.com/compute/docs/disks/local-ssd."""


@dataclass(frozen=True)
class Family:
    """`base` begins the SKUs of cores and memory; None where the accelerator's price is that of all."""

    base: str | None
    accelerators: tuple[str, ...] = ()
    """Names that the accelerator goes by; of several in one place, the dearest counts."""


FAMILIES: Mapping[str, Family] = {
    "a2-highgpu": Family("A2 Instance", ("Nvidia Tesla A100 GPU",)),
    "a2-megagpu": Family("A2 Instance", ("Nvidia Tesla A100 GPU",)),
    "a2-ultragpu": Family("A2 Instance", ("Nvidia Tesla A100 80GB GPU",)),
    "a3-highgpu": Family("A3 Instance", ("Nvidia H100 80GB GPU",)),
    "a3-megagpu": Family("A3Plus Instance", ("Nvidia H100 80GB Plus GPU", "Nvidia H100 80GB Mega GPU")),
    "a3-ultragpu": Family("A3Ultra Instance", ("H200 141GB GPU", "Nvidia H200 141GB GPU")),
    "a4-highgpu": Family(None, ("A4 Nvidia B200 (1 gpu slice)",)),
    "c3": Family("C3 Instance"),
    "e2": Family("E2 Instance"),
    "g2": Family("G2 Instance", ("Nvidia L4 GPU",)),
    "gpu-P100": Family(None, ("Nvidia Tesla P100 GPU",)),
    "gpu-P4": Family(None, ("Nvidia Tesla P4 GPU",)),
    "gpu-T4": Family(None, ("Nvidia Tesla T4 GPU",)),
    "gpu-V100": Family(None, ("Nvidia Tesla V100 GPU",)),
    "n1": Family("N1 Predefined Instance"),
    "n2": Family("N2 Instance"),
    "n2d": Family("N2D AMD Instance"),
    "n4": Family("N4 Instance"),
}
"""By the start of a machine type's name. Not here, since their SKUs could not be checked against a price of the whole:
G4, whose accelerators may be shared, A3 Edge, A4X and TPUs."""


@dataclass(frozen=True)
class Part:
    names: tuple[str, ...]
    quantity: float


def parts(instance: Instance) -> list[Part] | None:
    """What a machine is billed for; None where its family or a quantity is not known."""
    family = _family(instance.name)
    found = list(_parts(instance, family)) if family else []
    return [Part(names, quantity) for names, quantity in found if quantity] if _is_known(found) else None


def things() -> frozenset[str]:
    """All names that a part of any family goes by."""
    bases = {family.base for family in FAMILIES.values() if family.base}
    accelerators = {name for family in FAMILIES.values() for name in family.accelerators}
    return frozenset({*accelerators, *(f"{base} {part}" for base in bases for part in ("Core", "Ram")), LOCAL_DISK})


def _family(name: str) -> Family | None:
    """`a2-highgpu-1g` → `a2-highgpu`, `n2-standard-8` → `n2`, `gpu-T4 (attach to n1)` → `gpu-T4`."""
    words = name.split(" ")[0].split("-")
    return FAMILIES.get("-".join(words[:2])) or FAMILIES.get(words[0])


def _parts(instance: Instance, family: Family) -> Iterator[tuple[tuple[str, ...], float | None]]:
    if family.base:
        yield (f"{family.base} Core",), instance.vcpus
        yield (f"{family.base} Ram",), instance.memory_bytes and instance.memory_bytes / GIB
        yield (LOCAL_DISK,), _disk_gib(instance.local_disk_bytes or 0)
    if family.accelerators or instance.chip:
        yield family.accelerators, instance.chips


def _disk_gib(num_bytes: int) -> float | None:
    """Some lists count a piece of 375 GiB as one of 375 GB; None where it is neither."""
    pieces = (num_bytes / DISK_GIB / unit for unit in (GIB, 10**9))
    return next((count * DISK_GIB for count in pieces if count.is_integer()), None)


def _is_known(found: list[tuple[tuple[str, ...], float | None]]) -> bool:
    return bool(found) and all(names and quantity is not None for names, quantity in found)
