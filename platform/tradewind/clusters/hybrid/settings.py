"""The `provider` block of a hybrid cluster's YAML, checked at the door; each complaint names its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from tradewind.errors import SpecError, did_you_mean
from tradewind.specs.base import Block
from tradewind.specs.document import Document

BackendType = Literal["aws", "gcp", "azure", "static"]
CAP_USD = 50.0
LIFE_S = 86400.0
COOLDOWN_S = 60.0

OWN_KEYS = ("ssh_user", "ssh_ip")
"""Of a backend's settings, those that are ours and not of Ray's provider."""


class ClusterSettings(Block):
    """Whose the cluster is and what it may cost."""

    owner: str = Field(default="unknown", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Lower case, since Google's labels are."""
    ttl_s: float = Field(default=LIFE_S, gt=0)
    """How long a rented machine lives at most."""
    max_usd_per_hour: float = Field(default=CAP_USD, gt=0)
    """Of all machines together."""
    cooldown_s: float = Field(default=COOLDOWN_S, ge=0)
    """How long a candidate is left alone when it was sold out."""
    workspace: str = ""
    """Where decisions are written; a folder of the head when it is empty."""


class StaticSettings(Block):
    """Own hosts, reached over SSH."""

    type: Literal["static"] = "static"
    hosts: tuple[str, ...] = Field(min_length=1)
    head: str | None = None
    ssh_user: str | None = None
    ssh_ip: Literal["internal"] = "internal"
    ssh_private_key: str | None = None
    ssh_proxy_command: str | None = None
    """Both are written by `ray up` from the block `auth`."""
    stop_command: str = "ray stop"
    """What is run on a host when it is given back."""
    login_timeout_s: float = Field(default=15.0, gt=0)
    """For a host to answer, with the right key."""
    seed: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Hosts that were in use when the head was made, with their tags."""
    life: str = ""
    """The launch of the head that reads this; empty on the machine that makes the head."""

    @field_validator("hosts")
    @classmethod
    def _once(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({host for host in hosts if hosts.count(host) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is given twice")
        return hosts


class Settings(Block):
    """The block as a whole. `backends` are left as they are written, for Ray's own providers to read."""

    cluster: ClusterSettings = ClusterSettings()
    backends: dict[str, dict[str, Any]] = Field(min_length=1)
    overlay: dict[str, Any] | None = None
    on_head: bool = False
    """Written by `prepare_for_head_node`: the provider that reads this runs beside Ray's autoscaler."""

    @classmethod
    def read(cls, provider: Mapping[str, Any]) -> Self:
        """Raises SpecError for a backend of an unknown type, for unknown keys, and for hosts that are none."""
        ours = {key: value for key, value in provider.items() if key in cls.model_fields}
        settings = cls.from_document(Document.of(ours, name="provider"))
        for name, backend in settings.backends.items():
            _check_backend(name, backend)
        return settings

    def static(self, name: str) -> StaticSettings:
        document = Document.of(self.backends[name], name=f"provider.backends.{name}")
        return StaticSettings.from_document(document)


REGION_KEY: Mapping[str, str] = {"aws": "region", "gcp": "availability_zone", "azure": "location"}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "aws": ("region",),
    "gcp": ("project_id", "region", "availability_zone"),
    "azure": ("location", "resource_group"),
}
"""What Ray's providers index without looking."""


def _check_backend(name: str, backend: Mapping[str, Any]) -> None:
    place = f"provider.backends.{name}"
    kind = backend.get("type")
    if not isinstance(kind, str) or kind not in (*NEEDED, "static"):
        known = did_you_mean(str(kind), (*NEEDED, "static"))
        raise SpecError(f"{place}.type: no backend of type {kind!r}{known}")
    if "/" in name:
        raise SpecError(f"{place}: the name of a backend has no '/'", hint="it is the first part of node ids")
    if kind == "static":
        StaticSettings.from_document(Document.of(dict(backend), name=place))
        return
    missing = [key for key in NEEDED[kind] if not backend.get(key)]
    if missing:
        raise SpecError(f"{place}: {', '.join(missing)} is missing", hint=f"a backend of type {kind} needs it")
    if backend.get("cache_stopped_nodes", True):
        raise SpecError(
            f"{place}.cache_stopped_nodes is not false", hint="stopped machines still cost their disks; set it to false"
        )
    if backend.get("ssh_ip", "internal") not in ("internal", "external"):
        raise SpecError(f"{place}.ssh_ip is {backend['ssh_ip']!r}", hint="internal or external")
