"""All rules: what is wrong, how bad it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from tradewind.clusters.lint import access, autoscaler, manifest, pins, placement, spending
from tradewind.clusters.lint.part import Part
from tradewind.clusters.lint.rule import Fault, Rule

LAUNCHER_RULES: tuple[Rule, ...] = (
    Rule(
        "TW101",
        "error",
        "no token",
        "start Ray with RAY_AUTH_MODE=token, and copy ~/.ray/auth_token by file_mounts",
        access.no_token,
    ),
    Rule(
        "TW102",
        "error",
        "open dashboard",
        "use --dashboard-host=127.0.0.1, and `ray dashboard FILE`",
        access.open_dashboard,
    ),
    Rule(
        "TW103", "error", "token in the file", "keep it in ~/.ray/auth_token; make a new one now", access.token_in_file
    ),
    Rule(
        "TW104",
        "error",
        "open ports",
        "open port 22 alone; Ray's ports are for machines of the cluster",
        access.open_ports,
    ),
    Rule("TW105", "warning", "no tunnel", "add provider.overlay, or make sure that nobody listens", access.untunnelled),
    Rule("TW111", "error", "moving image", "name a digest, an id or an exact version", pins.moving_image),
    Rule("TW112", "error", "moving Ray", "install ray[default]==VERSION, the one that `ray up` runs", pins.moving_ray),
    Rule("TW121", "error", "no limit on machines", "set max_workers", spending.no_limit),
    Rule(
        "TW122",
        "warning",
        "no highest price",
        "set it: SpotOptions.MaxPrice, billingProfile.maxPrice, max_usd_per_hour",
        spending.no_price_limit,
    ),
    Rule("TW123", "warning", "no idle timeout", "set idle_timeout_minutes", spending.no_idle_timeout),
    Rule("TW124", "error", "stopped machines are kept", "set cache_stopped_nodes: false", spending.kept_when_stopped),
    Rule("TW125", "error", "no tags", "tag machines with owner and time to live", spending.no_tags),
    Rule("TW131", "error", "spot head", "take the head on demand", placement.spot_head),
    Rule(
        "TW132",
        "error",
        "accelerators of the head",
        "take a machine without accelerators for the head",
        placement.head_with_chips,
    ),
    Rule("TW133", "warning", "work on the head", "give the head resources: {CPU: 0}", placement.working_head),
    Rule(
        "TW134",
        "error",
        "candidates that differ",
        "put them into groups of their own, or promise what all have",
        placement.unlike_candidates,
    ),
    Rule(
        "TW135",
        "warning",
        "no sentinel",
        "start `python -m tradewind.clusters.sentinel` beside Ray",
        placement.no_sentinel,
    ),
    Rule(
        "TW141",
        "error",
        "type local",
        "use provider type external with a static backend",
        autoscaler.local_provider,
    ),
    Rule("TW142", "error", "legacy nodes", "write available_node_types and head_node_type", autoscaler.legacy_nodes),
    Rule("TW143", "warning", "ignored keys", "set min_workers and max_workers of node types", autoscaler.ignored_keys),
    Rule("TW144", "error", "unknown keys", "correct or remove the key", autoscaler.unknown_keys),
    Rule("TW145", "error", "no head", "name one of available_node_types", autoscaler.missing_head),
    Rule("TW146", "error", "unknown backend", "name one of provider.backends", autoscaler.unknown_backend),
    Rule(
        "TW147",
        "warning",
        "short heartbeat",
        "start the head with RAY_health_check_failure_threshold=10",
        autoscaler.short_heartbeat,
    ),
)

MANIFEST_RULES: tuple[Rule, ...] = (
    Rule("TW201", "error", "too few completions", "set completions to parallelism", manifest.too_few_completions),
    Rule(
        "TW202",
        "error",
        "no index",
        "set completionMode: Indexed, and the rank from JOB_COMPLETION_INDEX",
        manifest.not_indexed,
    ),
    Rule("TW203", "error", "no rendezvous", "set MASTER_ADDR and WORLD_SIZE, or use a RayJob", manifest.no_rendezvous),
    Rule(
        "TW204",
        "error",
        "one process for several GPUs",
        "start it by torchrun --nproc-per-node, or use a RayJob",
        manifest.no_local_rank,
    ),
    Rule("TW205", "error", "moving image", "name a digest or an exact tag", manifest.moving_pod_image),
    Rule("TW206", "error", "fixed devices", "leave CUDA_VISIBLE_DEVICES to the device plugin", manifest.fixed_devices),
    Rule("TW211", "error", "no token", "set authOptions: {mode: token}", manifest.no_pod_token),
    Rule("TW212", "warning", "first autoscaler", "set autoscalerOptions: {version: v2}", manifest.first_autoscaler),
    Rule("TW213", "warning", "forgetful head", "set gcsFaultToleranceOptions", manifest.forgetful_head),
    Rule(
        "TW214", "error", "costly head", "take an on-demand machine without GPUs for the head", manifest.costly_head_pod
    ),
    Rule("TW215", "warning", "evictable pods", "ask for as much memory as the limit", manifest.evictable_pod),
    Rule("TW216", "error", "lasting cluster of a job", "set shutdownAfterJobFinishes: true", manifest.lasting_job),
    Rule("TW217", "error", "no limit on pods", "set maxReplicas", manifest.endless_groups),
)


def _nothing(_part: Part) -> Iterator[Fault]:
    return iter(())


MISSHAPEN = Rule("TW100", "error", "misshapen file", "compare it with cluster_configs/", _nothing)
RULES = (MISSHAPEN, *LAUNCHER_RULES, *MANIFEST_RULES)
