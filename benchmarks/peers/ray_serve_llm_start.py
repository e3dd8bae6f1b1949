"""How long `ray.serve.llm` takes to start with vLLM's own engine: `ray_serve_llm_start.py MODEL PORT`.

The first replica in a new Ray, from the deployment to the first token through Serve's proxy, and one replica more,
until Serve says that it runs beside the first (Serve takes the second wish for a new version, and replaces the first
one only then). vLLM gets what makes it start fast on a processor, except for the executor in its own
process, which `ray.serve.llm` overwrites there. The last line is JSON, as of benchmarks/serving_start.py.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from typing import Any

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}  # fmt: skip
MODEL, APPLICATION, TIMEOUT_S = "start", "llm", 200.0


def main() -> None:
    model, port = sys.argv[1], int(sys.argv[2])
    began = time.monotonic()
    import ray
    import ray.serve

    runtime = {"env_vars": ENVIRONMENT}
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
    rows: list[dict[str, Any]] = [{"kind": "ray", "s": time.monotonic() - began}]
    began = time.monotonic()
    ray.serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
    ray.serve.run(_app(model, 1, runtime), name=APPLICATION, route_prefix="/")
    _ask(port)
    rows.append({"kind": "cold", "s": time.monotonic() - began})
    began = time.monotonic()
    ray.serve.run(_app(model, 2, runtime), name=APPLICATION, route_prefix="/", blocking=False)
    while _running() < 2:
        if time.monotonic() - began > TIMEOUT_S:
            raise RuntimeError("the second replica does not run")
        time.sleep(0.1)
    rows.append({"kind": "warm", "s": time.monotonic() - began})
    ray.serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()
    print(json.dumps(rows))


def _app(model: str, replicas: int, runtime: dict[str, Any]) -> Any:
    from ray.serve.llm import LLMConfig, build_openai_app

    config = LLMConfig(
        model_loading_config={"model_id": MODEL, "model_source": model},
        deployment_config={"num_replicas": replicas, "ray_actor_options": {"num_cpus": 0.1}},
        placement_group_config={"bundles": [{"CPU": 0.1}]},
        engine_kwargs={"max_model_len": 512, "enforce_eager": True, "max_num_seqs": 8},
        runtime_env=runtime,
        log_engine_metrics=False,
    )
    few = {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0.1}, "autoscaling_config": None}
    return build_openai_app({"llm_configs": [config], "ingress_deployment_config": few})


def _ask(port: int) -> None:
    body = json.dumps({"model": MODEL, "prompt": "w7 w8", "max_tokens": 1}).encode()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310
        answer.read()


def _running() -> int:
    """Replicas of the model that run."""
    import ray.serve
    from ray.serve._private.common import ReplicaState

    deployments = ray.serve.status().applications[APPLICATION].deployments
    return sum(one.replica_states.get(ReplicaState.RUNNING, 0) for name, one in deployments.items() if MODEL in name)


if __name__ == "__main__":
    main()
