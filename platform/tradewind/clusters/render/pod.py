"""A pod that fills a machine of Kubernetes: what is left of it, where it may run, and how it ends."""

from __future__ import annotations

from typing import Any

from tradewind.clusters.render.blueprint import Blueprint
from tradewind.clusters.render.candidate import Candidate
from tradewind.clusters.render.resources import Resources

GIB = 2**30
MEMORY_KEPT = ((4, 0.25), (4, 0.2), (8, 0.1), (112, 0.06), (float("inf"), 0.02))
"""What the machine keeps of each part of its memory, in GiB: docs.cloud.google.com/kubernetes-engine/docs/concepts/
plan-node-sizes, "Memory and CPU reservations" (seen 2026-11-26). Other clouds keep about as much."""
CPU_KEPT = ((1, 0.06), (1, 0.01), (2, 0.005), (float("inf"), 0.0025))
EVICTION_GIB, DAEMONS_GIB, DAEMONS_CPU = 0.1, 1.0, 0.5
"""Memory that has to stay free, and room for what runs on every machine; the last two are assumptions."""

SPOT_NOTICE_S = {"aws": 120, "gcp": 25, "azure": 30}
"""From a notice to the end: docs.aws.amazon.com spot interruption notices; cloud.google.com/kubernetes-engine spot VMs
(25 s for pods that are not of the system); learn.microsoft.com Azure spot VMs."""
ON_DEMAND_NOTICE_S = 120

SPOT_LABELS = {
    "gcp": ("cloud.google.com/gke-spot", "true"),
    "aws": ("eks.amazonaws.com/capacityType", "SPOT"),
    "azure": ("kubernetes.azure.com/scalesetpriority", "spot"),
}
"""Of machines of GKE, EKS and AKS on the spot market. GKE and AKS keep other pods off them by a taint of that name."""

DRAIN = """\
import os, time
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2 as pb
gcs, end = GcsClient(address=os.environ["RAY_ADDRESS"]), time.time() + {seconds}
def alive():
    nodes = gcs.get_all_node_info().values()
    return [n.node_id.hex() for n in nodes if n.state == 0 and n.node_manager_address == os.environ["POD_IP"]]
for node in alive():
    gcs.drain_node(node, pb.DRAIN_NODE_REASON_PREEMPTION, "the pod ends", int(end * 1000))
while alive() and time.time() < end:
    time.sleep(1)
"""
"""Tells Ray that nothing new shall start here, and lets what runs go on until it is done or the time is up."""


def left_for_pods(resources: Resources) -> tuple[int, int]:
    """Whole processors and whole GiB that one pod can ask for on an otherwise empty machine; estimated."""
    gib = resources.memory_bytes / GIB
    cpus = resources.cpus - _kept(resources.cpus, CPU_KEPT) - DAEMONS_CPU
    return max(1, int(cpus)), max(1, int(gib - _kept(gib, MEMORY_KEPT) - EVICTION_GIB - DAEMONS_GIB))


def pod(cluster: Blueprint, candidate: Candidate, resources: Resources, *, name: str) -> dict[str, Any]:
    """A pod template, with limits that are what it asks for: so it is the last to be evicted."""
    is_head = name == "ray-head"
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": notice_s(candidate),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "nodeSelector": node_selector(candidate),
        "tolerations": tolerations(candidate),
        "containers": [_container(cluster, candidate, resources, name)],
    }
    if not is_head:
        spec["automountServiceAccountToken"] = False
    kept = {key: part for key, part in spec.items() if part}
    return {"metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}}, "spec": kept}


def node_selector(candidate: Candidate) -> dict[str, str]:
    """The machine type, and the market where it is the spot market."""
    found = {"node.kubernetes.io/instance-type": candidate.machine} if candidate.machine else {}
    return found | (dict([SPOT_LABELS[candidate.cloud]]) if candidate.is_spot else {})


def tolerations(candidate: Candidate) -> list[dict[str, str]]:
    found = []
    if candidate.is_spot:
        key, value = SPOT_LABELS[candidate.cloud]
        found.append({"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"})
    if candidate.resources.chips:
        found.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    return found


def notice_s(candidate: Candidate) -> int:
    return SPOT_NOTICE_S[candidate.cloud] if candidate.is_spot else ON_DEMAND_NOTICE_S


def _container(cluster: Blueprint, candidate: Candidate, resources: Resources, name: str) -> dict[str, Any]:
    cpus, gib = left_for_pods(resources)
    amounts: dict[str, str] = {"cpu": str(cpus), "memory": f"{gib}Gi"}
    if resources.chips:
        amounts["nvidia.com/gpu"] = str(resources.chips)
    found: dict[str, Any] = {
        "name": name,
        "image": cluster.spec.image,
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if name != "ray-head":
        script = DRAIN.format(seconds=notice_s(candidate) - 5)
        found["lifecycle"] = {"preStop": {"exec": {"command": ["python", "-c", script]}}}
    return found


def _kept(amount: float, parts: tuple[tuple[float, float], ...]) -> float:
    kept = 0.0
    for size, share in parts:
        kept += min(amount, size) * share
        amount = max(0.0, amount - size)
    return kept
