"""What is written: the files in the repository, and Ray's own judgement of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters.render.kubernetes_schema import complaints
from tests.clusters.render.samples import AWS, AZURE, GCP, L4S, SITE, candidate, group, made
from tradewind.catalog import load_catalog
from tradewind.clusters.lint import lint
from tradewind.clusters.render import Blueprint, blueprint, render
from tradewind.errors import SpecError
from tradewind.specs import ClusterSpec
from tradewind.specs.document import Document

CONFIGS = Path(__file__).parents[3] / "cluster_configs"
SPECS = sorted(path.name.removesuffix(".spec.yaml") for path in CONFIGS.glob("*.spec.yaml"))
GPU = {
    "cpu": group(candidate(AWS)),
    "l4": group(candidate(AWS, L4S[AWS], market="spot"), candidate(AWS, L4S[AWS]), max=2),
}


def from_spec(name: str) -> Blueprint:
    document = Document.read(CONFIGS / f"{name}.spec.yaml")
    return blueprint(ClusterSpec.from_document(document), load_catalog(), at=document.place)


def written(cluster: Blueprint) -> dict[str, Any]:
    (text,) = render(cluster, name="a").values()
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def judged_by_ray(config: dict[str, Any]) -> dict[str, Any]:
    """Offline: what `ray up` does before it asks a cloud."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    found: dict[str, Any] = prepared
    return found


def test_there_is_a_spec_for_every_target() -> None:
    assert SPECS == ["aws", "azure", "gcp", "hybrid", "kuberay", "onprem"]


@pytest.mark.parametrize("name", SPECS)
def test_files_in_the_repository_are_what_their_specs_are_rendered_to(name: str) -> None:
    for file, text in render(from_spec(name), name=name).items():
        assert (CONFIGS / file).read_text() == text, f"tw cluster render cluster_configs/{name}.spec.yaml"


@pytest.mark.parametrize("name", [name for name in SPECS if name != "kuberay"])
def test_ray_takes_the_files_in_the_repository(name: str) -> None:
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    prepared = judged_by_ray(config)
    assert prepared["head_setup_commands"] == config["setup_commands"] + config["head_setup_commands"]


@pytest.mark.parametrize("name", ["kuberay", "kuberay_job", "kuberay_service"])
def test_kuberay_takes_the_manifests_in_the_repository(name: str) -> None:
    path = CONFIGS / f"{name}.yaml"
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest["apiVersion"] == "ray.io/v1":
            assert complaints(manifest) == []


@pytest.mark.parametrize(
    "path", sorted(set(CONFIGS.glob("*.yaml")) - set(CONFIGS.glob("*.spec.yaml"))), ids=lambda p: p.name
)
def test_lint_finds_nothing_in_the_files_of_the_repository(path: Path) -> None:
    assert [str(finding) for finding in lint(path)] == []


def test_same_spec_gives_the_same_bytes() -> None:
    assert render(made(groups=GPU), name="a") == render(made(groups=GPU), name="a")


def test_no_line_of_a_file_names_the_token_itself() -> None:
    (text,) = render(made(), name="a").values()
    assert yaml.safe_load(text)["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "RAY_AUTH_TOKEN" not in text


@pytest.mark.parametrize(
    ("cluster", "provider"),
    [
        (made(), "aws"),
        (made(GCP), "gcp"),
        (made(AZURE), "azure"),
        (made(SITE), "external"),
        (made(groups={"cpu": group(candidate(AWS), candidate(GCP))}), "external"),
        (made(groups={"cpu": group(candidate("aws/us-east-1", "m6i.2xlarge"))}), "external"),
        (made(overlay={"endpoint": "head.example"}), "external"),
        (made(GCP, groups={"cpu": group(candidate(f"{GCP}/us-central1-f", "n2-standard-8"))}), "external"),
    ],
)
def test_one_region_of_one_cloud_takes_rays_own_provider(cluster: Blueprint, provider: str) -> None:
    assert written(cluster)["provider"]["type"] == provider


def test_every_start_has_the_token_and_fixed_ports() -> None:
    config = written(made())
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        stop, start, sentinel = config[key]
        assert stop == "ray stop"
        assert start.startswith(("export RAY_AUTH_MODE=token;", "export RAY_AUTH_MODE=token "))
        assert "--min-worker-port=10100 --max-worker-port=10999" in start
        assert "tradewind.clusters.sentinel --cloud aws" in sentinel
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]


def test_head_does_no_work_and_is_on_demand() -> None:
    head = written(made(groups=GPU))["available_node_types"]["head"]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["node_config"]["InstanceInitiatedShutdownBehavior"] == "terminate"


def test_each_candidate_of_one_cloud_is_a_type_and_the_cheaper_one_goes_first() -> None:
    types = written(made(groups=GPU))["available_node_types"]
    assert list(types) == ["head", "cpu", "l4-spot", "l4-on-demand"]
    assert types["l4-spot"]["priority"] > types["l4-on-demand"]["priority"]
    assert types["l4-spot"]["resources"] == types["l4-on-demand"]["resources"]


def test_machines_that_are_always_there_are_of_the_cheapest_type_alone() -> None:
    wish = group(candidate(AWS, L4S[AWS], market="spot"), candidate(AWS, L4S[AWS]), min=2)
    types = written(made(groups={"l4": wish}))["available_node_types"]
    assert [types[name]["min_workers"] for name in ("l4-spot", "l4-on-demand")] == [2, 0]


def test_highest_price_stands_where_the_cloud_has_one() -> None:
    spot = {"l4": group(candidate(AWS, L4S[AWS], market="spot"))}
    config = written(made(groups=spot))["available_node_types"]["l4"]["node_config"]
    assert config["InstanceMarketOptions"]["SpotOptions"]["MaxPrice"] == "0.6438"
    azure = {"t4": group(candidate(AZURE, "Standard_NC4as_T4_v3", market="spot"))}
    parameters = written(made(AZURE, groups=azure))["available_node_types"]["t4"]["node_config"]["azure_arm_parameters"]
    assert parameters["billingProfile"] == {"maxPrice": pytest.approx(0.8 * 0.526)}
    assert (parameters["priority"], parameters["evictionPolicy"]) == ("Spot", "Delete")
    (text,) = render(made(GCP, groups={"cpu": group(candidate(GCP, market="spot"))}), name="a").values()
    assert "GCP has no highest price for spot machines" in text


@pytest.mark.parametrize("place", [AWS, GCP, AZURE])
def test_machines_are_tagged_with_cluster_owner_and_time_to_live(place: str) -> None:
    config = written(made(place, owner="acme", ttl_s="2h"))["available_node_types"]["cpu"]["node_config"]
    tags = (
        config.get("labels")
        or config.get("tags")
        or {tag["Key"]: tag["Value"] for tag in config["TagSpecifications"][0]["Tags"]}
    )
    assert (tags["tradewind-cluster"], tags["tradewind-owner"], tags["tradewind-ttl-s"]) == ("harbour", "acme", "7200")


def test_machines_end_by_themselves_when_their_time_is_up() -> None:
    aws = written(made(ttl_s="2h"))["available_node_types"]["cpu"]["node_config"]
    cloud_config = yaml.safe_load(aws["UserData"].removeprefix("#cloud-config\n"))
    assert cloud_config["power_state"]["delay"] == "+120"
    gcp = written(made(GCP, ttl_s="2h"))["available_node_types"]["cpu"]["node_config"]["scheduling"]
    assert (gcp["maxRunDuration"], gcp["instanceTerminationAction"]) == ({"seconds": 7200}, "DELETE")


def test_machine_with_a_gpu_of_gcp_is_not_moved_while_it_runs() -> None:
    types = written(made(GCP, groups={"l4": group(candidate(GCP, L4S[GCP]))}))["available_node_types"]
    assert types["l4"]["node_config"]["scheduling"]["onHostMaintenance"] == "TERMINATE"
    assert types["head"]["node_config"]["scheduling"]["onHostMaintenance"] == "MIGRATE"


def test_drivers_are_installed_where_a_machine_has_chips_alone() -> None:
    assert any("nvidia" in command for command in written(made(groups=GPU))["setup_commands"])
    assert not any("nvidia" in command for command in written(made())["setup_commands"])


def test_flags_of_ray_start_are_flags_that_it_has() -> None:
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    for name in ("aws", "hybrid"):
        config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
        used = {word for command in commands if "ray start" in command for word in re.findall(r"--[a-z-]+", command)}
        assert used - {"--labels-file"} <= known
        assert "--labels-file" in known


def test_machines_of_several_networks_wait_longer_for_an_answer() -> None:
    config = written(made(groups={"cpu": group(candidate(AWS), candidate(GCP))}))
    assert "RAY_health_check_failure_threshold=10" in config["head_start_ray_commands"][1]


def test_commands_of_the_spec_come_after_ray() -> None:
    assert (
        written(made(setup=["sudo apt-get install -qy htop"]))["setup_commands"][-1] == "sudo apt-get install -qy htop"
    )


def test_image_of_a_region_goes_before_that_of_its_cloud() -> None:
    cluster = made(images={"aws": "ami-1", AWS: "ami-2"})
    assert written(cluster)["available_node_types"]["cpu"]["node_config"]["ImageId"] == "ami-2"


def test_image_of_azure_is_named_in_its_four_parts_or_by_its_id() -> None:
    parameters = written(made(AZURE))["available_node_types"]["cpu"]["node_config"]["azure_arm_parameters"]
    assert parameters["imagePublisher"] == "Canonical"
    assert parameters["imageVersion"] == "22.04.202510230"
    own = written(made(AZURE, images={"azure": "/subscriptions/1/images/own"}))["available_node_types"]["cpu"][
        "node_config"
    ]
    assert own["azure_arm_parameters"]["imageId"] == "/subscriptions/1/images/own"
    with pytest.raises(SpecError, match="'ubuntu' is no image of azure"):
        written(made(AZURE, images={"azure": "ubuntu"}))


def test_gcp_without_a_project_is_refused() -> None:
    with pytest.raises(SpecError, match="machines of gcp need a project"):
        written(made(GCP, gcp_project=""))


def test_zones_of_a_spec_are_those_of_the_provider() -> None:
    wish = {"cpu": group(candidate(f"{AWS}/us-west-2b", "m6i.2xlarge"))}
    assert written(made(groups=wish))["provider"]["availability_zone"] == "us-west-2b"


HYBRID = {
    "cpu": group(candidate(SITE), candidate(GCP, market="spot"), candidate(AWS), max=6),
    "l4": group(candidate(AWS, L4S[AWS], market="spot"), candidate(GCP, L4S[GCP])),
}


class TestHybrid:
    def config(self, **values: Any) -> dict[str, Any]:
        return written(made(SITE, groups=HYBRID, overlay={"endpoint": "head.example"}, **values))

    def test_every_group_is_one_type_with_candidates_in_price_order(self) -> None:
        types = self.config()["available_node_types"]
        assert list(types) == ["head", "cpu", "l4"]
        names = [one["name"] for one in types["cpu"]["node_config"]["candidates"]]
        assert names == [
            "onprem-berlin-owned",
            "gcp-us-central1-n2-standard-8-spot",
            "aws-us-west-2-m6i-2xlarge-on-demand",
        ]

    def test_provider_reads_its_settings_and_candidates(self) -> None:
        from tradewind.clusters.hybrid.candidate import in_order, read_candidates
        from tradewind.clusters.hybrid.settings import Settings

        config = self.config()
        settings = Settings.read(config["provider"])
        assert settings.cluster.max_usd_per_hour == 20
        for node_type in config["available_node_types"].values():
            found = read_candidates(node_type["node_config"], settings.backends)
            assert in_order(found) == list(found)

    def test_each_region_is_a_backend_and_machines_elsewhere_are_reached_from_outside(self) -> None:
        backends = self.config()["provider"]["backends"]
        assert list(backends) == ["berlin", "gcp-us-central1", "aws-us-west-2"]
        assert backends["berlin"] == {
            "type": "static",
            "ssh_user": "ubuntu",
            "hosts": ["10.0.0.10", "10.0.0.11", "10.0.0.12"],
            "head": "10.0.0.10",
        }
        assert backends["aws-us-west-2"]["ssh_ip"] == "external"

    def test_ray_talks_inside_the_tunnel_and_outlives_an_outage(self) -> None:
        config = self.config()
        head, worker = (config[f"{who}_start_ray_commands"][-2] for who in ("head", "worker"))
        assert config["worker_start_ray_commands"][1].startswith("bash /etc/tradewind/overlay/wait.sh 10.99.0.1 6379")
        assert "RAY_health_check_failure_threshold=10" in head
        assert "--node-ip-address=10.99.0.1" in head
        assert "--address=10.99.0.1:6379" in worker
        assert "GLOO_SOCKET_IFNAME=wg0 NCCL_SOCKET_IFNAME=wg0" in worker
        assert "--labels-file=/etc/tradewind/labels.yaml" in worker
        assert config["provider"]["overlay"] == {"subnet": "10.99.0.0/24", "port": 51820, "endpoint": "head.example"}

    def test_head_gets_what_it_launches_machines_with(self) -> None:
        command, _, hub = self.config()["head_setup_commands"]
        assert hub.endswith("overlay hub --subnet 10.99.0.0/24 --endpoint head.example --port 51820 --owner $USER")
        assert "boto3" in command
        assert "google-api-python-client" in command
        assert "azure" not in command

    def test_user_data_of_machines_is_left_to_the_overlay(self) -> None:
        candidates = self.config()["available_node_types"]["cpu"]["node_config"]["candidates"]
        assert not any("UserData" in one["node_config"] for one in candidates)

    def test_machines_of_several_places_need_a_key(self) -> None:
        with pytest.raises(SpecError, match="ssh_key is missing"):
            self.config(ssh_key="")

    def test_subnet_that_is_none_is_refused(self) -> None:
        with pytest.raises(SpecError, match="is not a subnet"):
            written(made(SITE, groups=HYBRID, overlay={"endpoint": "head.example", "subnet": "10.99.0.300/24"}))

    def test_ray_takes_it(self) -> None:
        judged_by_ray(self.config())


KUBERAY = {
    "cpu": group(candidate(GCP, market="spot"), candidate(GCP)),
    "l4": group(candidate(GCP, "g2-standard-8", market="spot")),
}


class TestKubeRay:
    def manifest(self, place: str = GCP, groups: Any = None, **kubernetes: Any) -> dict[str, Any]:
        cluster = made(place, groups=groups or KUBERAY, kubernetes=kubernetes)
        found = next(iter(yaml.safe_load_all(render(cluster, name="a")["a.yaml"])))
        assert complaints(found) == []
        assert isinstance(found, dict)
        return found

    def test_one_spec_gives_a_cluster_and_what_is_asked_for_beside(self) -> None:
        cluster = made(GCP, groups=KUBERAY, kubernetes={"job": {"entrypoint": "python a.py"}})
        assert list(render(cluster, name="a")) == ["a.yaml", "a_job.yaml"]

    def test_second_autoscaler_token_and_state_in_redis(self) -> None:
        spec = self.manifest()["spec"]
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["enableInTreeAutoscaling"]
        assert spec["autoscalerOptions"]["version"] == "v2"
        assert spec["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]["key"] == "password"

    def test_queue_of_kueue_is_a_label_and_growing_is_announced(self) -> None:
        metadata = self.manifest(queue="ml")["metadata"]
        assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "ml"
        assert metadata["annotations"] == {"kueue.x-k8s.io/elastic-job": "true"}
        assert "annotations" not in self.manifest()["metadata"]

    @pytest.mark.parametrize(
        ("place", "selector", "key"),
        [
            (GCP, {"cloud.google.com/gke-spot": "true"}, "cloud.google.com/gke-spot"),
            (AWS, {"eks.amazonaws.com/capacityType": "SPOT"}, "eks.amazonaws.com/capacityType"),
            (AZURE, {"kubernetes.azure.com/scalesetpriority": "spot"}, "kubernetes.azure.com/scalesetpriority"),
        ],
    )
    def test_spot_groups_go_to_spot_machines_of_each_cloud(
        self, place: str, selector: dict[str, str], key: str
    ) -> None:
        wish = {"cpu": group(candidate(place, market="spot"), candidate(place))}
        spot, on_demand = self.manifest(place, wish)["spec"]["workerGroupSpecs"]
        pod = spot["template"]["spec"]
        assert selector.items() <= pod["nodeSelector"].items()
        assert [one["key"] for one in pod["tolerations"]] == [key]
        assert "tolerations" not in on_demand["template"]["spec"]
        assert spot["priority"] > on_demand["priority"]

    def test_pod_asks_for_what_a_machine_has_left_and_no_more(self) -> None:
        (container,) = self.manifest()["spec"]["workerGroupSpecs"][2]["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "7", "memory": "27Gi", "nvidia.com/gpu": "1"}
        assert container["resources"]["requests"] == container["resources"]["limits"]

    def test_pod_drains_its_node_before_it_ends_and_in_time(self) -> None:
        pod = self.manifest()["spec"]["workerGroupSpecs"][0]["template"]["spec"]
        program, flag, script = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert (program, flag) == ("python", "-c")
        compile(script, "preStop", "exec")
        assert "time.time() + 20" in script
        assert pod["terminationGracePeriodSeconds"] == 25

    def test_nobody_drains_the_machine_of_the_head(self) -> None:
        text = render(made(GCP, kubernetes={}), name="a")["a.yaml"]
        _, budget = yaml.safe_load_all(text)
        assert budget["spec"]["maxUnavailable"] == 0
        assert budget["spec"]["selector"]["matchLabels"] == {"ray.io/cluster": "harbour", "ray.io/node-type": "head"}

    def test_job_ends_with_its_cluster_and_in_time(self) -> None:
        cluster = made(GCP, kubernetes={"job": {"entrypoint": "python a.py", "max_time_s": "1h"}})
        job = yaml.safe_load(render(cluster, name="a")["a_job.yaml"])
        assert complaints(job) == []
        assert job["spec"]["shutdownAfterJobFinishes"] is True
        assert job["spec"]["activeDeadlineSeconds"] == 3600
        assert "gcsFaultToleranceOptions" not in job["spec"]["rayClusterSpec"]

    def test_service_serves_what_it_is_told(self) -> None:
        wish = {"service": {"import_path": "app:application", "working_dir": "s3://bucket/app.zip"}}
        service = yaml.safe_load(render(made(GCP, kubernetes=wish), name="a")["a_service.yaml"])
        assert complaints(service) == []
        (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
        assert application["import_path"] == "app:application"
        assert application["runtime_env"] == {"working_dir": "s3://bucket/app.zip"}

    def test_machines_of_two_regions_are_refused(self) -> None:
        cluster = made(GCP, groups={"cpu": group(candidate(AWS))}, kubernetes={})
        with pytest.raises(SpecError, match="machines are in aws/us-west-2, gcp/us-central1"):
            render(cluster, name="a")

    def test_schema_sees_what_is_wrong(self) -> None:
        manifest = self.manifest()
        manifest["spec"]["enableInTreeAutoscaling"] = "yes"
        manifest["spec"]["workerGroupSpecs"][0]["minReplica"] = 1
        assert len(complaints(manifest)) == 2
