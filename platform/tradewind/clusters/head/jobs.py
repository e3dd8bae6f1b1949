"""`python -m tradewind.clusters.head.jobs ADDRESS`: what a head that has died still owed to the jobs submitted to it.

Ray keeps their records, and no more (measured with Ray 2.60 on 2026-11-26): a job that waited for its machine has lost
what would start it, and stays pending until it times out. Drivers that died with the head are missed only when the next
job is submitted; until then they are shown as running.

So what waited is submitted again, under its name, and the rest is looked after: a job that ran on the head fails, since
nobody knows how far it came. An entrypoint's label selector is not in the record, so it is lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.dashboard.consts import DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX
from ray.dashboard.modules.job.common import JOB_ACTOR_NAME_TEMPLATE, SUPERVISOR_ACTOR_RAY_NAMESPACE
from ray.dashboard.modules.job.job_head import JobAgentSubmissionClient
from ray.job_submission import JobSubmissionClient

JOBS, AGENTS = b"job", b"dashboard"
"""Namespaces of Ray's key-value store."""
PREFIX = b"_ray_internal_job_info_"
WISHES = (
    "entrypoint", "metadata", "entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_memory", "entrypoint_resources",
)  # fmt: skip

DASHBOARD_S = 120.0
"""The longest that a dashboard may take to answer."""

Job = dict[str, Any]


def recover(address: str) -> list[str]:
    """Submit again what waited when a head died, and have Ray look after the rest. Gives the names of the former.

    To be run on the new head, once, before others submit.
    """
    gcs = GcsClient(address=address)
    waiting = dict(_jobs(gcs, "PENDING"))
    here: Any = ray.init(address=address, namespace=SUPERVISOR_ACTOR_RAY_NAMESPACE, log_to_driver=False)
    client = _client(f"http://{here.address_info['webui_url']}")
    for name in waiting:
        _forget(gcs, name)
    _submit(client, waiting)
    _look_after_the_rest(gcs)
    return list(waiting)


def _jobs(gcs: Any, status: str) -> Iterator[tuple[str, Job]]:
    for key in gcs.internal_kv_keys(PREFIX, JOBS):
        job = json.loads(gcs.internal_kv_get(key, JOBS) or "{}")
        if job.get("status") == status:
            yield key.removeprefix(PREFIX).decode(), job


def _client(dashboard: str) -> JobSubmissionClient:
    """Once the dashboard answers, which may be after `ray start` has returned."""
    end = time.monotonic() + DASHBOARD_S
    while True:
        try:
            return JobSubmissionClient(dashboard)
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _forget(gcs: Any, name: str) -> None:
    """All of them before one is submitted: from then on Ray watches every job that it finds."""
    with suppress(ValueError):  # how Ray says that there is no such actor, or no longer
        while True:
            ray.kill(ray.get_actor(JOB_ACTOR_NAME_TEMPLATE.format(job_id=name)))
            time.sleep(0.1)
    gcs.internal_kv_del(PREFIX + name.encode(), False, JOBS)


def _submit(client: JobSubmissionClient, waiting: dict[str, Job]) -> None:
    """In the order in which they came."""
    for name, job in sorted(waiting.items(), key=lambda item: item[1]["start_time"]):
        wishes: dict[str, Any] = {wish: job.get(wish) for wish in WISHES}
        client.submit_job(submission_id=name, runtime_env=json.loads(job.get("runtime_env_json") or "{}"), **wishes)


def _look_after_the_rest(gcs: Any) -> None:
    """Ray's agent on the head watches jobs from the first time on that it is asked about one."""
    name = next((name for name, _ in _jobs(gcs, "RUNNING")), None)
    if name:
        node = ray.get_runtime_context().get_node_id()
        host, port, _ = json.loads(gcs.internal_kv_get(f"{DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX}{node}".encode(), AGENTS))
        asyncio.run(_ask(f"http://{host}:{port}", name))


async def _ask(agent: str, name: str) -> None:
    client: Any = JobAgentSubmissionClient(agent)
    try:
        await client.get_job_logs_internal(name)
    finally:
        await client.close()


if __name__ == "__main__":
    again = recover(sys.argv[1])
    sys.stdout.write(f"jobs submitted again: {', '.join(again) or 'none'}\n")
