"""The wish for a cluster: a head, groups of alike workers with the machines that may do, and what it may cost."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from tradewind.specs.base import Block, Spec
from tradewind.specs.reference import Name
from tradewind.units import Bytes, Seconds

ONPREM = "onprem"
"""The cloud of machines of one's own; their region is a site."""

_PLACE = re.compile(r"[a-z0-9]+/[a-z0-9-]+(/[a-z0-9-]+)?")
_MOVING = re.compile(r"(^|[:/_.-])(latest|nightly|current|family)($|[:/_.-])")


def _checked_place(value: str) -> str:
    if not _PLACE.fullmatch(value):
        raise ValueError(f"{value!r} is not a place; write aws/us-west-2, aws/us-west-2/us-west-2a or {ONPREM}/SITE")
    return value


def _checked_image(value: str) -> str:
    if _MOVING.search(value):
        raise ValueError(f"{value!r} moves on by itself; name a digest, an id or an exact tag")
    return value


def _checked_container(value: str) -> str:
    if ":" not in value.rpartition("/")[2]:
        raise ValueError(f"{value!r} has no tag; name a digest or an exact tag, like rayproject/ray:2.60.0-py311")
    return _checked_image(value)


Place = Annotated[str, AfterValidator(_checked_place)]
Image = Annotated[str, AfterValidator(_checked_image)]
Container = Annotated[str, AfterValidator(_checked_container)]


class HeadSpec(Block):
    """The machine that everything else depends on: always on demand, without accelerators, and free of work."""

    place: Place = Field(description="like aws/us-west-2, or onprem/SITE")
    machine: str = Field(default="", description="machine type, for a cloud")
    host: str = Field(default="", description="address, for a site")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        wanted, other = ("host", "machine") if self.place.startswith(f"{ONPREM}/") else ("machine", "host")
        if not getattr(self, wanted) or getattr(self, other):
            raise ValueError(f"a head in {self.place} needs `{wanted}`" + (f", not `{other}`" if self.machine else ""))
        return self


class CandidateSpec(Block):
    """One way to get a machine of a group."""

    place: Place = Field(description="like aws/us-west-2, gcp/us-central1/us-central1-a, or onprem/SITE")
    machine: str = Field(default="", description="machine type")
    chip: str = Field(default="", description="accelerator; instead of a machine type: the cheapest one that has it")
    chips: int = Field(default=1, ge=1, description="accelerators of one machine, together with `chip`")
    market: Literal["on_demand", "spot"] = "on_demand"

    @model_validator(mode="after")
    def _one_machine(self) -> Self:
        if self.place.startswith(f"{ONPREM}/"):
            if self.machine or self.chip or self.market == "spot":
                raise ValueError(f"machines in {self.place} are what the site says; give the place alone")
        elif bool(self.machine) == bool(self.chip):
            raise ValueError(f"a candidate in {self.place} needs `machine` or `chip`" + ", not both" * bool(self.chip))
        return self


class GroupSpec(Block):
    """Workers with the same resources, whichever candidate they come from."""

    candidates: tuple[CandidateSpec, ...] = Field(min_length=1)
    min: int = Field(default=0, ge=0, description="machines that are always there")
    max: int = Field(default=4, ge=1, description="most machines at a time")
    cpus: int | None = Field(default=None, ge=1, description="processors that are promised; every candidate has them")
    memory: Bytes | None = Field(default=None, gt=0, description="memory that is promised; every candidate has it")
    max_price_per_hour: PositiveFloat | None = Field(default=None, description="dollars for one machine")

    @model_validator(mode="after")
    def _min_is_below_max(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is over max {self.max}")
        return self


class SiteSpec(Block):
    """Machines of one's own, all alike, that can be logged in to."""

    hosts: tuple[str, ...] = Field(min_length=1, description="addresses")
    cpus: int = Field(ge=1, description="processors of one machine")
    memory: Bytes = Field(gt=0, description="of one machine")
    chip: str = Field(default="", description="accelerator, by its name in the catalogue")
    chips: int = Field(default=0, ge=0, description="accelerators of one machine")
    ssh_user: str = "ubuntu"
    price_per_hour: float = Field(default=0.0, ge=0, description="dollars for one machine; 0 where it is paid anyway")

    @model_validator(mode="after")
    def _chips_are_counted(self) -> Self:
        if bool(self.chip) != bool(self.chips):
            raise ValueError("chip and chips go together: which accelerator, and how many")
        return self


class OverlaySpec(Block):
    """The tunnel that joins workers of other networks to the head."""

    endpoint: str = Field(min_length=1, description="address of the head that workers can reach by UDP")
    subnet: str = Field(default="10.99.0.0/24", pattern=r"^[0-9.]+/[0-9]+$")
    port: int = Field(default=51820, ge=1, le=65535, description="UDP port of the head")


class JobSpec(Block):
    """What a RayJob runs on a cluster of its own."""

    entrypoint: str = Field(min_length=1)
    max_time_s: Seconds = Field(default=86400.0, gt=0)


class ServiceSpec(Block):
    """What a RayService serves on a cluster of its own."""

    import_path: str = Field(min_length=3, pattern=r"^[^:]+:[^:]+$", description="like package.module:application")
    working_dir: str = Field(default="", description="URL of an archive with the code; default what the image has")


class KubernetesSpec(Block):
    """Given where the machines belong to a Kubernetes cluster with KubeRay."""

    namespace: Name = "default"
    queue: Name | None = Field(default=None, description="local queue of Kueue")
    redis: str = Field(default="redis:6379", description="where the head keeps its state")
    redis_secret: Name = Field(default="redis-password", description="secret with a key `password`")
    job: JobSpec | None = Field(default=None, description="also render a RayJob")
    service: ServiceSpec | None = Field(default=None, description="also render a RayService")


class ClusterSpec(Spec):
    kind: ClassVar[str] = "cluster"

    name: Name
    head: HeadSpec
    groups: dict[Name, GroupSpec] = Field(min_length=1)
    owner: Name | None = Field(default=None, description="whom machines are tagged with; default the cluster's name")
    ttl_s: Seconds = Field(default=86400.0, ge=60, description="machines end after that, whatever they do")
    idle_timeout_s: Seconds = Field(default=300.0, ge=30, description="workers without work end after that")
    max_usd_per_hour: PositiveFloat = Field(default=20.0, description="of all machines together, head included")
    ray: str = Field(default="2.60.0", pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")
    python: str = Field(default="3.11", pattern=r"^3\.[0-9]+$")
    package: str = Field(default="tradewind==0.1.0", description="what is installed beside Ray, as pip takes it")
    image: Container = Field(default="rayproject/ray:2.60.0-py311", description="of containers on Kubernetes")
    images: dict[str, Image] = Field(default={}, description="machine image by cloud or cloud/region")
    setup: tuple[str, ...] = Field(default=(), description="commands on every machine, after Ray is installed")
    ssh_user: str = "ubuntu"
    ssh_key: str = Field(default="", description="private key; without it Ray makes one for each cloud")
    workspace: str = Field(default="", description="where records of the cluster go; default a folder of the head")
    aws_key_pair: str = Field(default="", description="name that EC2 knows the key under, where `ssh_key` is given")
    gcp_project: str = ""
    azure_subscription: str = Field(default="", description="default the one that `az` is logged in to")
    azure_resource_group: str = Field(default="", description="default tradewind-NAME")
    sites: dict[Name, SiteSpec] = Field(default={}, description="machines of one's own by site")
    overlay: OverlaySpec | None = None
    kubernetes: KubernetesSpec | None = None

    @property
    def tagged_owner(self) -> str:
        return self.owner or self.name

    @property
    def places(self) -> list[str]:
        """All places that are named, each once, the head's first."""
        candidates = (candidate.place for group in self.groups.values() for candidate in group.candidates)
        return list(dict.fromkeys([self.head.place, *candidates]))
