"""What every machine is tagged with, so that it can be found, paid for and ended by whoever finds it."""

from __future__ import annotations

from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.candidate import Candidate, label

CLUSTER, OWNER, TTL, CANDIDATE = "tradewind-cluster", "tradewind-owner", "tradewind-ttl-s", "tradewind-candidate"
"""`tradewind-ttl-s` counts from the launch, which the cloud knows: a file that is kept cannot say a day."""


def tags(cluster: Blueprint, candidate: Candidate) -> dict[str, str]:
    spec = cluster.spec
    return {
        CLUSTER: label(spec.name),
        OWNER: label(spec.tagged_owner),
        TTL: str(round(spec.ttl_s)),
        CANDIDATE: candidate.name,
    }
