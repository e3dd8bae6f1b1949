"""What every machine of a cluster carries, so that all that must be known of it can be read back from its cloud.

Names and values suit the strictest of the clouds: Google's labels hold lower case letters, digits, `-` and `_`, up to
63 of them. A price is therefore written in millionths of a dollar.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from tradewind.clusters.hybrid.candidate import Candidate
from tradewind.clusters.hybrid.settings import ClusterSettings

CLUSTER, OWNER, EXPIRES = "tradewind-cluster", "tradewind-owner", "tradewind-expires"
CANDIDATE, LAUNCH, SINCE = "tradewind-candidate", "tradewind-launch", "tradewind-since"
MARKET, MACHINE, PRICE = "tradewind-market", "tradewind-machine", "tradewind-microusd-per-hour"

KIND, NODE_TYPE, REQUEST, STATUS = "ray-node-type", "ray-user-node-type", "ray-launch-request", "ray-node-status"
"""Ray's own, in `ray.autoscaler.tags`; named here so that reading a machine needs no Ray."""

RAY_CLUSTER = "ray-cluster-name"

SEPARATOR = "/"
"""A node is `<backend>/<native id>`."""


def new_token() -> str:
    return uuid.uuid4().hex


def machine_tags(
    candidate: Candidate, cluster: str, settings: ClusterSettings, *, token: str, expires: bool
) -> dict[str, str]:
    """The tags of a machine that is asked for now."""
    now = int(time.time())
    tags = {
        CLUSTER: label(cluster),
        OWNER: settings.owner,
        CANDIDATE: candidate.name,
        LAUNCH: token,
        SINCE: str(now),
        MARKET: candidate.market,
        MACHINE: label(candidate.machine),
        PRICE: str(round(candidate.usd_per_hour * 1e6)),
    }
    return {**tags, EXPIRES: str(now + int(settings.ttl_s))} if expires else tags


def label(text: str) -> str:
    """A word as all clouds take it: `m5.large` → `m5_large`."""
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def node_id(backend: str, native: str) -> str:
    return f"{backend}{SEPARATOR}{native}"


def split_node_id(node: str) -> tuple[str, str]:
    backend, _, native = node.partition(SEPARATOR)
    return backend, native


@dataclass(frozen=True)
class Carried:
    """What a machine's tags say; machines that something else has made lack some of it."""

    tags: Mapping[str, str]

    @property
    def usd_per_hour(self) -> float:
        return int(self._number(PRICE)) / 1e6

    @property
    def since(self) -> float | None:
        """Unix seconds."""
        return self._number(SINCE) or None

    @property
    def expires(self) -> float | None:
        return self._number(EXPIRES) or None

    @property
    def token(self) -> str:
        return self.tags.get(LAUNCH, "")

    @property
    def is_head(self) -> bool:
        return self.tags.get(KIND) == "head"

    def matches(self, wanted: Mapping[str, str]) -> bool:
        return all(self.tags.get(key) == value for key, value in wanted.items())

    def _number(self, name: str) -> float:
        text = self.tags.get(name, "")
        return float(text) if text.isdigit() else 0.0
