"""Faults of Kubernetes manifests: Jobs that train on several pods, and resources of KubeRay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tradewind.clusters.lint.part import Part
from tradewind.clusters.lint.pins import moving_container
from tradewind.clusters.lint.rule import Fault
from tradewind.specs.document import Where

CLUSTERS: dict[str, Where] = {
    "RayCluster": ("spec",),
    "RayJob": ("spec", "rayClusterSpec"),
    "RayService": ("spec", "rayClusterConfig"),
}
CHIPS = ("nvidia.com/gpu", "amd.com/gpu")
_LAUNCHER = re.compile(r"\b(torchrun|torch\.distributed\.(run|launch)|accelerate launch|deepspeed|mpirun)\b")
_RENDEZVOUS = ("MASTER_ADDR", "WORLD_SIZE")


def too_few_completions(part: Part) -> Iterator[Fault]:
    """Kubernetes runs no more pods at a time than are still to complete."""
    parallel, complete = part.get("spec", "parallelism"), part.get("spec", "completions")
    if part.get("kind") == "Job" and isinstance(parallel, int) and isinstance(complete, int) and complete < parallel:
        yield (
            ("spec", "completions"),
            f"parallelism {parallel}, but completions {complete}: {complete} at most run at a time",
        )


def not_indexed(part: Part) -> Iterator[Fault]:
    if _is_parallel(part) and part.get("spec", "completionMode") != "Indexed":
        yield ("spec",), "pods of the Job have no index, so none knows its rank"


def no_rendezvous(part: Part) -> Iterator[Fault]:
    if not _is_parallel(part):
        return
    for where, container in _containers(part):
        names = {str(one.get("name")) for one in container.get("env") or []}
        missing = [name for name in _RENDEZVOUS if name not in names]
        if missing and "--rdzv" not in _command(container):
            yield where, f"pods cannot find each other: no {' and no '.join(missing)}"


def no_local_rank(part: Part) -> Iterator[Fault]:
    for where, container in _containers(part):
        chips = _chips(container)
        command = _command(container)
        if (
            part.get("kind") == "Job"
            and chips > 1
            and re.search(r"\bpython", command)
            and not _LAUNCHER.search(command)
        ):
            yield where, f"one process for {chips} GPUs: nothing sets LOCAL_RANK, and the others do nothing"


def moving_pod_image(part: Part) -> Iterator[Fault]:
    for where, container in _containers(part):
        yield from moving_container((*where, "image"), str(container.get("image", "")))


def fixed_devices(part: Part) -> Iterator[Fault]:
    for where, container in _containers(part):
        for index, one in enumerate(container.get("env") or []):
            if one.get("name") == "CUDA_VISIBLE_DEVICES":
                yield (*where, "env", index), "CUDA_VISIBLE_DEVICES is fixed, whatever GPUs the pod was given"


def no_pod_token(part: Part) -> Iterator[Fault]:
    if (where := _cluster(part)) and part.get(*where, "authOptions", "mode") != "token":
        yield where, "Ray starts without a token: whoever reaches its ports can run code"


def first_autoscaler(part: Part) -> Iterator[Fault]:
    where = _cluster(part)
    if (
        where
        and part.get(*where, "enableInTreeAutoscaling")
        and part.get(*where, "autoscalerOptions", "version") != "v2"
    ):
        yield (*where, "enableInTreeAutoscaling"), "Ray's first autoscaler is used"


def forgetful_head(part: Part) -> Iterator[Fault]:
    """A job ends with its cluster; whatever lasts longer forgets all with the head's pod."""
    where = _cluster(part)
    if where and part.get("kind") != "RayJob" and not part.get(*where, "gcsFaultToleranceOptions"):
        yield where, "the head keeps its state in its own memory: a new pod knows nothing of the old one's work"


def costly_head_pod(part: Part) -> Iterator[Fault]:
    where = _cluster(part)
    if not where:
        return
    here = (*where, "headGroupSpec", "template", "spec")
    if any(_chips(container) for container in part.get(*here, "containers") or []):
        yield here, "the head's pod asks for GPUs"
    selector = part.get(*here, "nodeSelector") or {}
    if any("spot" in f"{key}={value}".lower() for key, value in selector.items()):
        yield (*here, "nodeSelector"), "the head's pod is on a spot machine"


def evictable_pod(part: Part) -> Iterator[Fault]:
    """Limits of memory over requests: the pod is among the first that go when its machine is full."""
    if not _cluster(part):
        return
    for where, container in _containers(part):
        resources = container.get("resources") or {}
        asked, most = ((resources.get(key) or {}).get("memory") for key in ("requests", "limits"))
        if asked is None or asked != most:
            yield where, f"memory is asked for as {asked}, with a limit of {most}"


def lasting_job(part: Part) -> Iterator[Fault]:
    if part.get("kind") == "RayJob" and not part.get("spec", "shutdownAfterJobFinishes"):
        yield ("spec",), "the cluster of the job stays when the job is done"


def endless_groups(part: Part) -> Iterator[Fault]:
    if where := _cluster(part):
        for index, group in enumerate(part.get(*where, "workerGroupSpecs") or []):
            if group.get("maxReplicas") is None:
                yield (*where, "workerGroupSpecs", index), f"group {group.get('groupName')!r} may grow without end"


def _is_parallel(part: Part) -> bool:
    return part.get("kind") == "Job" and (part.get("spec", "parallelism") or 1) > 1


def _cluster(part: Part) -> Where:
    """Where the cluster of a resource of KubeRay stands; empty for others."""
    return CLUSTERS.get(str(part.get("kind")), ())


def _containers(part: Part) -> Iterator[tuple[Where, dict[str, Any]]]:
    for where in _pods(part):
        for index, container in enumerate(part.get(*where, "spec", "containers") or []):
            if isinstance(container, dict):
                yield (*where, "spec", "containers", index), container


def _pods(part: Part) -> Iterator[Where]:
    where = _cluster(part)
    if where:
        yield (*where, "headGroupSpec", "template")
        groups = part.get(*where, "workerGroupSpecs") or []
        yield from ((*where, "workerGroupSpecs", index, "template") for index, _ in enumerate(groups))
    elif part.get("kind") == "CronJob":
        yield ("spec", "jobTemplate", "spec", "template")
    elif part.get("kind") == "Pod":
        yield ()
    else:
        yield ("spec", "template")


def _command(container: dict[str, Any]) -> str:
    return " ".join(map(str, [*(container.get("command") or []), *(container.get("args") or [])]))


def _chips(container: dict[str, Any]) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return max((int(limits[key]) for key in CHIPS if str(limits.get(key, "")).isdigit()), default=0)
