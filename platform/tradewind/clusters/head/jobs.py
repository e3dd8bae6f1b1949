"""`python -m tradewind.clusters.head.jobs ADDRESS QUEUE`: what a head that has died owed to the jobs submitted to it.

Ray keeps their records, and no more. It loses the call that starts a job which waited for its machine: the job has its
resources and stays pending until it times out. And it looks for drivers that died with the head only when the next job
is submitted: until then they are shown as running. Both measured with Ray 2.60, on 2026-11-26.

A waiting job is submitted again, under its name; one that ran on the head fails, since nobody knows how far it came.
A label selector of the entrypoint is not in Ray's record, so it is lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.dashboard.consts import DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX
from ray.dashboard.modules.job.common import JOB_ACTOR_NAME_TEMPLATE, SUPERVISOR_ACTOR_RAY_NAMESPACE
from ray.dashboard.modules.job.job_head import JobAgentSubmissionClient
from ray.job_submission import JobSubmissionClient

TABLE, AGENTS = b"job", b"dashboard"
"""Namespaces of Ray's key-value store."""
PREFIX = b"_ray_internal_job_info_"
WISHES = (
    "entrypoint", "metadata", "entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory", "entrypoint_resources",
)  # fmt: skip
RELEASE_S = 30.0
"""How long the name of a job may stay taken once its actor has been killed."""

Job = dict[str, Any]


def recover(address: str, queue: Path) -> list[str]:
    """Submit again what waited when a head died, and have Ray look after the rest. Gives the names of the former.

    `queue` holds them while Ray does not, so that nothing is lost when this head dies too.
    """
    gcs = GcsClient(address=address)
    waiting = {**_read(queue), **_waiting(gcs)}
    here = ray.init(address=address, namespace=SUPERVISOR_ACTOR_RAY_NAMESPACE, log_to_driver=False)
    if waiting:
        queue.write_text(json.dumps(waiting))
        _forget(gcs, waiting)
        _submit(JobSubmissionClient(f"http://{here.address_info['webui_url']}"), waiting)
        queue.unlink()
    _look_after_the_rest(gcs)
    return list(waiting)


def _read(queue: Path) -> dict[str, Job]:
    found: dict[str, Job] = json.loads(queue.read_text()) if queue.exists() else {}
    return found


def _waiting(gcs: Any) -> dict[str, Job]:
    return {name: job for name, job in _jobs(gcs) if job["status"] == "PENDING"}


def _jobs(gcs: Any) -> Iterable[tuple[str, Job]]:
    for key in gcs.internal_kv_keys(PREFIX, TABLE):
        if value := gcs.internal_kv_get(key, TABLE):
            yield key.removeprefix(PREFIX).decode(), json.loads(value)


def _forget(gcs: Any, names: Iterable[str]) -> None:
    """All of them before one is submitted: from then on Ray watches every job that it finds."""
    for name in names:
        gcs.internal_kv_del(PREFIX + name.encode(), False, TABLE)
        _end_actor(JOB_ACTOR_NAME_TEMPLATE.format(job_id=name))


def _end_actor(name: str) -> None:
    end = time.monotonic() + RELEASE_S
    while time.monotonic() < end:
        try:
            ray.kill(ray.get_actor(name))
        except ValueError:  # how Ray says that there is none
            return
        time.sleep(0.1)


def _submit(client: JobSubmissionClient, waiting: dict[str, Job]) -> None:
    for name, job in sorted(waiting.items(), key=lambda item: item[1]["start_time"]):
        wishes = {wish: job.get(wish) for wish in WISHES}
        client.submit_job(submission_id=name, runtime_env=json.loads(job.get("runtime_env_json") or "{}"), **wishes)


def _look_after_the_rest(gcs: Any) -> None:
    """Ray's agent on the head watches jobs from the first question on that it is asked about one."""
    running = [name for name, job in _jobs(gcs) if job["status"] == "RUNNING"]
    node = ray.get_runtime_context().get_node_id()
    if running:
        host, port, _ = json.loads(gcs.internal_kv_get(f"{DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX}{node}".encode(), AGENTS))
        asyncio.run(_ask(f"http://{host}:{port}", running[0]))


async def _ask(agent: str, name: str) -> None:
    client = JobAgentSubmissionClient(agent)
    try:
        await client.get_job_logs_internal(name)
    finally:
        await client.close()


def main(words: Sequence[str]) -> None:
    address, queue = words
    again = recover(address, Path(queue))
    sys.stdout.write(f"jobs submitted again: {', '.join(again) or 'none'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
