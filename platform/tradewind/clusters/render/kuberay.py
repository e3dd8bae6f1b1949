"""Manifests of KubeRay: a RayCluster, and from the same spec a RayJob and a RayService."""

from __future__ import annotations

from typing import Any

from tradewind.clusters.overlay.node_files import MARKET
from tradewind.clusters.render.blueprint import Blueprint, Group
from tradewind.clusters.render.candidate import label
from tradewind.clusters.render.launcher import left_out, template
from tradewind.clusters.render.node_type import type_names
from tradewind.clusters.render.pod import pod
from tradewind.errors import SpecError
from tradewind.specs import KubernetesSpec
from tradewind.units import format_usd

KEPT_AFTER_S = 600
"""How long a job's cluster is kept for a look at its logs."""
AUTOSCALER = {"cpu": "500m", "memory": "512Mi"}


def files(cluster: Blueprint, *, name: str) -> dict[str, str]:
    """Text by file name. Raises SpecError for machines that are in no one Kubernetes cluster."""
    if len(cluster.places) > 1:
        places = ", ".join(sorted("/".join(place) for place in cluster.places))
        hint = "a Kubernetes cluster is in one region; give each its own spec, or leave `kubernetes` out"
        raise SpecError(f"kubernetes: machines are in {places}", hint=hint)
    kubernetes = _settings(cluster)
    found = {f"{name}.yaml": _file(cluster, f"{name}.yaml", raycluster(cluster), guarded=True)}
    if kubernetes.job:
        found[f"{name}_job.yaml"] = _file(cluster, f"{name}_job.yaml", rayjob(cluster))
    if kubernetes.service:
        found[f"{name}_service.yaml"] = _file(cluster, f"{name}_service.yaml", rayservice(cluster))
    return found


def raycluster(cluster: Blueprint) -> dict[str, Any]:
    return {**_header(cluster, "RayCluster", cluster.spec.name), "spec": _cluster_spec(cluster)}


def rayjob(cluster: Blueprint) -> dict[str, Any]:
    """A job on a cluster of its own, which ends with it, and has a longest time."""
    job = _settings(cluster).job
    assert job is not None
    spec = {
        "entrypoint": job.entrypoint,
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEPT_AFTER_S,
        "activeDeadlineSeconds": round(job.max_time_s),
        "backoffLimit": 2,
        "rayClusterSpec": _cluster_spec(cluster, lasting=False),
    }
    return {**_header(cluster, "RayJob", f"{cluster.spec.name}-job"), "spec": spec}


def rayservice(cluster: Blueprint) -> dict[str, Any]:
    """An application on a cluster of its own. A changed one starts on a second cluster, which takes over when ready."""
    service = _settings(cluster).service
    assert service is not None
    code = f"    runtime_env: {{working_dir: {service.working_dir!r}}}\n" if service.working_dir else ""
    config = (
        f"applications:\n  - name: {cluster.spec.name}\n    route_prefix: /\n    import_path: {service.import_path}\n"
    )
    spec = {
        "serveConfigV2": config + code,
        "upgradeStrategy": {"type": "NewCluster"},
        "excludeHeadPodFromServeSvc": True,
        "rayClusterConfig": _cluster_spec(cluster),
    }
    return {**_header(cluster, "RayService", f"{cluster.spec.name}-service"), "spec": spec}


def disruption_budget(cluster: Blueprint) -> dict[str, Any]:
    """Nobody drains the machine of the head by accident."""
    name = cluster.spec.name
    labels = {"ray.io/cluster": name, "ray.io/node-type": "head"}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"{name}-head", "namespace": _settings(cluster).namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": labels}},
    }


def _file(cluster: Blueprint, name: str, manifest: dict[str, Any], *, guarded: bool = False) -> str:
    return template("kuberay.yaml.j2").render(
        name=name,
        spec=cluster.spec,
        kubernetes=_settings(cluster),
        manifest=manifest,
        budget=disruption_budget(cluster) if guarded else None,
        prices=_prices(cluster),
        most=format_usd(cluster.most_usd_per_hour),
        limit=format_usd(cluster.spec.max_usd_per_hour),
    )


def _header(cluster: Blueprint, kind: str, name: str) -> dict[str, Any]:
    kubernetes = _settings(cluster)
    labels = {"tradewind-cluster": label(cluster.spec.name), "tradewind-owner": label(cluster.spec.tagged_owner)}
    metadata: dict[str, Any] = {"name": name, "namespace": kubernetes.namespace, "labels": labels}
    if kubernetes.queue:
        labels["kueue.x-k8s.io/queue-name"] = kubernetes.queue
        metadata["annotations"] = {"kueue.x-k8s.io/elastic-job": "true"}
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata}


def _cluster_spec(cluster: Blueprint, *, lasting: bool = True) -> dict[str, Any]:
    """`lasting` clusters keep the head's state in Redis, so that a new head goes on where the old one was."""
    kubernetes = _settings(cluster)
    idle_s = round(cluster.spec.idle_timeout_s)
    password = {"secretKeyRef": {"name": kubernetes.redis_secret, "key": "password"}}
    redis = {"redisAddress": kubernetes.redis, "redisPassword": {"valueFrom": password}}
    return {
        "rayVersion": cluster.spec.ray,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": idle_s,
            "resources": {"requests": AUTOSCALER, "limits": dict(AUTOSCALER)},
        },
        **({"gcsFaultToleranceOptions": redis} if lasting else {}),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0"},
            "template": pod(cluster, cluster.head, cluster.head.resources, name="ray-head"),
        },
        "workerGroupSpecs": [group for one in cluster.groups for group in _worker_groups(cluster, one)],
    }


def _worker_groups(cluster: Blueprint, group: Group) -> list[dict[str, Any]]:
    """One for each candidate; what is cheaper has the higher priority."""
    names = type_names(group)
    return [
        {
            "groupName": name,
            "replicas": group.min if index == 0 else 0,
            "minReplicas": group.min if index == 0 else 0,
            "maxReplicas": min(group.max, cluster.max_workers),
            "priority": len(names) - index,
            "idleTimeoutSeconds": round(cluster.spec.idle_timeout_s),
            "labels": {"tradewind-group": group.name, MARKET: one.market},
            "rayStartParams": {},
            "template": pod(cluster, one, group.resources, name="ray-worker"),
        }
        for index, (name, one) in enumerate(zip(names, group.candidates, strict=True))
    ]


def _prices(cluster: Blueprint) -> list[str]:
    lines = [f"head: {cluster.head.name}: {cluster.head.price_words()}"]
    for group in cluster.groups:
        lines += [f"{group.name}: {one.name}: {one.price_words()}" for one in group.candidates]
        lines += left_out(group)
    return lines


def _settings(cluster: Blueprint) -> KubernetesSpec:
    if cluster.spec.kubernetes is None:
        raise SpecError("the spec has no block `kubernetes`", hint="add one: kubernetes: {}")
    return cluster.spec.kubernetes
