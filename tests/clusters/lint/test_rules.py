"""Each rule finds its own fault, in a file that has no other, and nothing where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters.render.samples import AWS, AZURE, GCP, L4S, SITE, candidate, group, made
from tradewind.clusters.lint import RULES, Finding, lint
from tradewind.clusters.render import render

SPOT = {"l4": group(candidate(AWS, L4S[AWS], market="spot"))}
AWS_FILE = made(groups=SPOT)
GCP_FILE = made(GCP, groups={"cpu": group(candidate(GCP, market="spot"))})
AZURE_FILE = made(AZURE, groups={"t4": group(candidate(AZURE, "Standard_NC4as_T4_v3", market="spot"))})
HYBRID_FILE = made(
    SITE,
    groups={"cpu": group(candidate(SITE), candidate(GCP, market="spot"), candidate(AWS))},
    overlay={"endpoint": "head.example"},
)
KUBERAY_FILE = made(GCP, groups={"cpu": group(candidate(GCP, market="spot"))}, kubernetes={"job": {"entrypoint": "a"}})
TRAIN = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "train"},
    "spec": {
        "parallelism": 8,
        "completions": 8,
        "completionMode": "Indexed",
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "train",
                        "image": "train:1.2",
                        "command": ["torchrun", "--nproc-per-node=4", "train.py"],
                        "env": [{"name": "MASTER_ADDR", "value": "train-0"}, {"name": "WORLD_SIZE", "value": "32"}],
                        "resources": {"limits": {"nvidia.com/gpu": 4}},
                    }
                ]
            }
        },
    },
}

Change = Callable[[dict[str, Any]], object]


def good(kind: str) -> dict[str, Any]:
    """A file without a fault, as plain data."""
    if kind == "train":
        return copy.deepcopy(TRAIN)
    cluster = {"aws": AWS_FILE, "gcp": GCP_FILE, "azure": AZURE_FILE, "hybrid": HYBRID_FILE}.get(kind, KUBERAY_FILE)
    name = "a_job.yaml" if kind == "rayjob" else "a.yaml"
    found = next(iter(yaml.safe_load_all(render(cluster, name="a")[name])))
    assert isinstance(found, dict)
    return found


def findings(values: Any, folder: Path) -> list[Finding]:
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return lint(path)


def config(of: dict[str, Any], name: str) -> Any:
    return of["available_node_types"][name]["node_config"]


def start(of: dict[str, Any], who: str, before: str, after: str) -> None:
    commands = of[f"{who}_start_ray_commands"]
    commands[:] = [command.replace(before, after) for command in commands]


def container(of: dict[str, Any]) -> Any:
    return of["spec"]["template"]["spec"]["containers"][0]


def head_pod(of: dict[str, Any]) -> Any:
    return of["spec"]["headGroupSpec"]["template"]["spec"]


FAULTS: list[tuple[str, str, Change]] = [
    ("TW101", "aws", lambda of: start(of, "head", "export RAY_AUTH_MODE=token", "export A=b")),
    ("TW101", "aws", lambda of: start(of, "worker", "export RAY_AUTH_MODE=token", "export A=b")),
    ("TW101", "gcp", lambda of: of.pop("head_start_ray_commands")),
    ("TW102", "aws", lambda of: start(of, "head", "127.0.0.1", "0.0.0.0")),
    ("TW102", "hybrid", lambda of: start(of, "head", "--dashboard-host=127.0.0.1", "--dashboard-host '::'")),
    ("TW103", "aws", lambda of: start(of, "head", "export ", "export RAY_AUTH_TOKEN=0123456789abcdef ")),
    (
        "TW104",
        "aws",
        lambda of: of["provider"].update(
            security_group={
                "IpPermissions": [{"FromPort": 6379, "ToPort": 6379, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
            }
        ),
    ),
    (
        "TW104",
        "hybrid",
        lambda of: of["provider"]["backends"]["aws-us-west-2"].update(
            security_group={"IpPermissions": [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]}
        ),
    ),
    ("TW105", "hybrid", lambda of: of["provider"].pop("overlay")),
    ("TW111", "aws", lambda of: config(of, "l4").pop("ImageId")),
    ("TW111", "aws", lambda of: config(of, "l4").update(ImageId="latest_dlami")),
    ("TW111", "aws", lambda of: config(of, "l4").update(ImageId="resolve:ssm:/aws/service/deeplearning/latest/ami-id")),
    ("TW111", "aws", lambda of: of.update(docker={"image": "rayproject/ray:latest-gpu"})),
    ("TW111", "aws", lambda of: of.update(docker={"image": "rayproject/ray"})),
    (
        "TW111",
        "gcp",
        lambda of: config(of, "cpu")["disks"][0]["initializeParams"].update(
            sourceImage="projects/a/global/images/family/b"
        ),
    ),
    ("TW111", "azure", lambda of: config(of, "t4")["azure_arm_parameters"].update(imageVersion="latest")),
    ("TW112", "aws", lambda of: of["setup_commands"].append("pip install 'ray[default]'")),
    (
        "TW112",
        "aws",
        lambda of: of["setup_commands"].append("pip install -U https://x/ray-wheels/latest/ray-3.0.0.dev0.whl"),
    ),
    ("TW112", "aws", lambda of: of.pop("setup_commands")),
    ("TW121", "aws", lambda of: of.pop("max_workers")),
    ("TW122", "aws", lambda of: config(of, "l4")["InstanceMarketOptions"].pop("SpotOptions")),
    ("TW122", "azure", lambda of: config(of, "t4")["azure_arm_parameters"].pop("billingProfile")),
    ("TW122", "azure", lambda of: config(of, "t4")["azure_arm_parameters"].update(billingProfile={"maxPrice": -1})),
    ("TW122", "hybrid", lambda of: of["provider"]["cluster"].pop("max_usd_per_hour")),
    ("TW123", "aws", lambda of: of.pop("idle_timeout_minutes")),
    ("TW124", "aws", lambda of: of["provider"].pop("cache_stopped_nodes")),
    ("TW124", "hybrid", lambda of: of["provider"]["backends"]["aws-us-west-2"].update(cache_stopped_nodes=True)),
    ("TW125", "aws", lambda of: config(of, "l4").pop("TagSpecifications")),
    ("TW125", "gcp", lambda of: config(of, "cpu")["labels"].pop("tradewind-ttl-s")),
    ("TW125", "azure", lambda of: config(of, "t4")["tags"].pop("tradewind-owner")),
    ("TW125", "hybrid", lambda of: of["provider"]["cluster"].pop("owner")),
    (
        "TW131",
        "aws",
        lambda of: config(of, "head").update(
            InstanceMarketOptions={"MarketType": "spot", "SpotOptions": {"MaxPrice": "1"}}
        ),
    ),
    ("TW131", "gcp", lambda of: config(of, "head").update(scheduling=[{"preemptible": True}])),
    ("TW132", "aws", lambda of: config(of, "head").update(InstanceType="g6.xlarge")),
    ("TW132", "gcp", lambda of: config(of, "head").update(guestAccelerators=[{"acceleratorCount": 1}])),
    ("TW132", "azure", lambda of: of["available_node_types"]["head"]["resources"].update(GPU=1)),
    ("TW133", "aws", lambda of: of["available_node_types"]["head"]["resources"].update(CPU=2)),
    (
        "TW134",
        "aws",
        lambda of: (
            config(of, "l4").update(InstanceType="g5.xlarge") or config(of, "l4").update(InstanceType="m7i.large")
        ),
    ),
    ("TW134", "hybrid", lambda of: config(of, "cpu")["candidates"][2]["node_config"].update(InstanceType="m7i.large")),
    (
        "TW134",
        "hybrid",
        lambda of: [
            one.update(resources={"CPU": index}) for index, one in enumerate(config(of, "cpu")["candidates"][:2])
        ],
    ),
    ("TW135", "aws", lambda of: of["worker_start_ray_commands"].pop()),
    ("TW141", "aws", lambda of: of["provider"].update(type="local")),
    ("TW142", "aws", lambda of: of.update(worker_nodes={"InstanceType": "m7i.large"})),
    ("TW143", "aws", lambda of: of.update(min_workers=2)),
    ("TW143", "aws", lambda of: of["available_node_types"]["l4"].update(max_workers=99)),
    ("TW144", "aws", lambda of: of.update(idle_timeout=5)),
    ("TW144", "aws", lambda of: of["available_node_types"]["l4"].update(max_worker=5)),
    ("TW145", "aws", lambda of: of.update(head_node_type="hed")),
    ("TW146", "hybrid", lambda of: config(of, "cpu")["candidates"][1].update(backend="gcp-us-centrall")),
    ("TW147", "hybrid", lambda of: start(of, "head", "RAY_health_check_failure_threshold=10", "")),
    ("TW201", "train", lambda of: of["spec"].update(completions=1)),
    ("TW202", "train", lambda of: of["spec"].pop("completionMode")),
    ("TW203", "train", lambda of: container(of).pop("env")),
    ("TW204", "train", lambda of: container(of).update(command=["python", "train.py"])),
    ("TW205", "train", lambda of: container(of).update(image="train:latest")),
    ("TW205", "train", lambda of: container(of).update(image="train")),
    ("TW206", "train", lambda of: container(of)["env"].append({"name": "CUDA_VISIBLE_DEVICES", "value": "0,1,2,3"})),
    ("TW211", "raycluster", lambda of: of["spec"].pop("authOptions")),
    ("TW212", "raycluster", lambda of: of["spec"]["autoscalerOptions"].pop("version")),
    ("TW213", "raycluster", lambda of: of["spec"].pop("gcsFaultToleranceOptions")),
    ("TW214", "raycluster", lambda of: head_pod(of)["nodeSelector"].update({"cloud.google.com/gke-spot": "true"})),
    (
        "TW214",
        "raycluster",
        lambda of: head_pod(of)["containers"][0]["resources"]["limits"].update({"nvidia.com/gpu": 1}),
    ),
    ("TW215", "raycluster", lambda of: head_pod(of)["containers"][0]["resources"]["requests"].update(memory="1Gi")),
    ("TW216", "rayjob", lambda of: of["spec"].pop("shutdownAfterJobFinishes")),
    ("TW217", "raycluster", lambda of: of["spec"]["workerGroupSpecs"][0].pop("maxReplicas")),
]


@pytest.mark.parametrize(("code", "kind", "change"), FAULTS, ids=[f"{code}-{kind}" for code, kind, _ in FAULTS])
def test_rule_finds_its_fault(code: str, kind: str, change: Change, tmp_path: Path) -> None:
    values = good(kind)
    change(values)
    assert code in {finding.rule.code for finding in findings(values, tmp_path)}


@pytest.mark.parametrize("kind", ["aws", "gcp", "azure", "hybrid", "raycluster", "rayjob", "train"])
def test_file_without_a_fault_has_no_findings(kind: str, tmp_path: Path) -> None:
    assert [str(finding) for finding in findings(good(kind), tmp_path)] == []


def test_every_rule_has_a_fault_here() -> None:
    assert {code for code, _, _ in FAULTS} == {rule.code for rule in RULES} - {"TW100"}


def test_codes_are_used_once() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    "values",
    [
        {"cluster_name": "a", "provider": None, "available_node_types": [1]},
        {"cluster_name": "a", "provider": {"type": "aws", "security_group": {"IpPermissions": ["x"]}}},
        {
            "cluster_name": "a",
            "provider": {"type": "aws"},
            "available_node_types": {"a": {"node_config": {"TagSpecifications": 3}}},
        },
        {
            "cluster_name": "a",
            "provider": {"type": "external", "backends": {"a": 1}},
            "available_node_types": {"a": None},
        },
        {
            "cluster_name": 3,
            "provider": {"type": "gcp"},
            "available_node_types": {"a": {"node_config": {"scheduling": 1}}},
        },
        {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {"containers": [1, {"env": 4}]}}}},
        {"apiVersion": "ray.io/v1", "kind": "RayCluster", "spec": {"workerGroupSpecs": 5, "headGroupSpec": []}},
    ],
)
def test_misshapen_file_is_a_finding_and_no_crash(values: dict[str, Any], tmp_path: Path) -> None:
    assert findings(values, tmp_path)


def test_six_faults_of_a_training_job_are_found_by_code(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        """\
apiVersion: batch/v1
kind: Job
metadata:
  name: distributed-training
spec:
  parallelism: 8
  completions: 1
  template:
    spec:
      containers:
        - name: trainer
          image: training:latest
          command: ["python", "train.py"]
          resources: {limits: {nvidia.com/gpu: 4}}
          env:
            - {name: NCCL_DEBUG, value: INFO}
            - {name: CUDA_VISIBLE_DEVICES, value: "0,1,2,3"}
      restartPolicy: OnFailure
"""
    )
    found = {(finding.rule.code, finding.line) for finding in lint(path)}
    assert found == {("TW201", 7), ("TW202", 5), ("TW203", 11), ("TW204", 11), ("TW205", 12), ("TW206", 17)}
