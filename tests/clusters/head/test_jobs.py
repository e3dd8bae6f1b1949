"""A head that is killed, with everything of Ray real: what is still known, and what still runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.head.real_cluster import Cluster, real_cluster
from tests.clusters.head.small_head import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TIDE = """
class Tide:
    def __init__(self): self.height = 0
    def rise(self):
        self.height += 1
        return self.height
while "wide" not in ray.cluster_resources():  # a wish that no node can grant would be one for a new machine
    time.sleep(0.2)
tide = ray.remote(Tide).options(name="tide", lifetime="detached", num_cpus=0, resources={"wide": 1}).remote()
"""
RISE = """
rises = ray.get(ray.get_actor("tide").rise.remote())
answer = [node["NodeID"] for node in ray.nodes() if node["Alive"] and "wide" in node["Resources"]], rises
"""
"""The ids of the worker that is there from the start, and how often the actor on it was called."""
WAIT = "until [ -e {folder}/enough ]; do sleep 0.2; done; echo done"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """In a short folder: Ray's sockets are in it, whose paths may have no more than 107 characters."""
    folder = tempfile.TemporaryDirectory(prefix="tw", ignore_cleanup_errors=True)
    with folder as path, real_cluster(Path(path)) as cluster:
        yield cluster


def test_cluster_outlives_the_processes_of_its_head(cluster: Cluster) -> None:
    wait = WAIT.format(folder=cluster.folder)
    (worker,), rises = cluster.ask(TIDE + RISE)
    assert rises == 1
    cluster.lease("wide")
    cluster.submit("history", "true")
    cluster.submit("on-head", wait)
    cluster.submit("on-worker", wait, wide=1)
    cluster.submit("queued", "true", late=1)
    cluster.until(**{"history": "SUCCEEDED", "on-head": "RUNNING", "on-worker": "RUNNING", "queued": "PENDING"})

    gcs, raylet = cluster.process("gcs_server"), cluster.process("raylet")
    gcs.kill()
    assert until(lambda: cluster.process("gcs_server") != gcs)
    cluster.until(**{"history": "SUCCEEDED", "on-head": "RUNNING", "on-worker": "RUNNING", "queued": "PENDING"})
    assert cluster.process("raylet") == raylet
    assert cluster.ask(RISE) == [[worker], 2]

    cluster.kill_head()
    assert until(lambda: cluster.process("raylet") != raylet, timeout_s=240)
    cluster.until(**{"history": "SUCCEEDED", "on-head": "FAILED", "on-worker": "RUNNING", "queued": "PENDING"})
    assert cluster.ask(RISE) == [[worker], 3]
    lists = len(cluster.asked_of_provider())
    assert until(lambda: len(cluster.asked_of_provider()) >= lists + 2)
    assert set(cluster.asked_of_provider()) == {"list"}, "the new head's autoscaler neither launched, ended nor set up"

    (cluster.folder / "enough").touch()
    cluster.add_worker("late")
    cluster.until(**{"on-worker": "SUCCEEDED", "queued": "SUCCEEDED"})
