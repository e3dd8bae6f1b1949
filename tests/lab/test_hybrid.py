"""One Ray cluster over own hosts, two regions of Amazon and Google, and what it must survive.

The tests share one cluster, and each may run alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.harbour import DASHBOARD, HEAD, OWN, PASSES, PLACES, SENTINEL_LOG, Harbour, is_in, start_harbour
from tests.lab.journey import LAPTOP, answer_in, wait_until
from tradewind.clusters.ports import GCS
from tradewind.testing.clouds.hosts import Host, Hosts, missing_programs
from tradewind.testing.clouds.network import Network, start_network

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

OUTAGE_S = 60.0
WARNING_S = 20.0


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Of which each place is a part."""
    if missing := missing_programs():
        pytest.skip(f"hosts need {', '.join(missing)}")
    with start_network("10.77.0.0/16", parts=list(PLACES.values()), passes=PASSES) as network, network.inside():
        yield network


@pytest.fixture(scope="module")
def harbour(network: Network, hosts: Hosts) -> Iterator[Harbour]:
    """A cluster that is up, with the two cheapest places for `spot` sold out."""
    with start_harbour(network, hosts) as harbour:
        harbour.gce.weather.sold_out.add("us-central1-a g2-standard-4 spot")
        harbour.ec2.weather.sold_out.add("us-east-1 g6.xlarge spot")
        harbour.ec2.announce()
        harbour.cluster.up()
        yield harbour


def test_one_job_runs_on_own_hosts_and_in_three_places_of_two_clouds(harbour: Harbour) -> None:
    assert harbour.machines() == []
    done_by = harbour.cluster.ask({"own": 1, "east": 1, "google": 1, "spot": 1})
    assert done_by["own"] == [harbour.hosts.running[OWN].name]
    for name, place in (("east", "east"), ("google", "google"), ("spot", "west")):
        assert is_in(done_by[name][0], place)
    launch = next(launch for launch in harbour.launches() if launch.node_type == "spot")
    assert [(attempt.place, attempt.outcome) for attempt in launch.attempts] == [
        ("us-central1-a", "sold_out"),
        ("us-east-1", "sold_out"),
        ("us-west-2", "launched"),
    ]
    harbour.cluster.seconds["refusal to next place"] = round(max(each.seconds for each in launch.attempts[:2]), 3)
    harbour.cluster.seconds["failover past two places"] = round(launch.seconds, 3)


def test_workers_that_are_idle_end_in_all_clouds(harbour: Harbour) -> None:
    waited_s = wait_until(lambda: not harbour.machines(), "idle machines end", timeout_s=120)
    harbour.cluster.seconds["result to workers gone"] = round(waited_s, 2)


def test_no_task_is_lost_when_machines_are_taken_with_and_without_a_warning(harbour: Harbour) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(harbour.cluster.ask, {"spot": 12}, hold_s=3.0)
        wait_until(lambda: len(harbour.working("west")) == 2, "tasks run on two machines", timeout_s=240)
        warned, silent = harbour.working("west")
        harbour.ec2.interrupt(harbour.machine(silent))
        take_back_with_warning(harbour, warned)
        done_by = asked.result()["spot"]
    assert len(done_by) == 12
    assert set(done_by) - {warned.name, silent.name}


def take_back_with_warning(harbour: Harbour, host: Host) -> None:
    """As Amazon does: a notice, and at the time that it names, the end, unless the machine was given back before."""
    machine, end = harbour.machine(host), time.monotonic() + WARNING_S
    harbour.metadata.warn(host.address, WARNING_S)
    drained_s = wait_until(lambda: " drained " in log_of(host), "the sentinel drains its node", timeout_s=WARNING_S)
    harbour.cluster.seconds["notice to drain"] = round(drained_s, 2)
    while machine in harbour.machines() and time.monotonic() < end:
        time.sleep(0.5)
    harbour.ec2.interrupt(machine)


def log_of(host: Host) -> str:
    log = host.path(str(SENTINEL_LOG))
    return log.read_text() if log.exists() else ""


def test_machine_reaches_the_head_through_the_overlay_alone_and_is_kept_while_its_cloud_is_down(
    harbour: Harbour,
) -> None:
    before = len(harbour.launches())
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(harbour.cluster.ask, {"google": 2}, hold_s=OUTAGE_S / 2)
        wait_until(lambda: harbour.working("google"), "a task runs at Google", timeout_s=240)
        harbour.gce.weather.is_down = True
        began = time.monotonic()
        (host,) = harbour.at("google")
        assert not reaches(host, HEAD, GCS)
        assert reaches(host, "10.99.0.1", GCS)
        try:
            done_by = asked.result()
            time.sleep(max(0.0, began + OUTAGE_S - time.monotonic()))
        finally:
            harbour.gce.weather.is_down = False
    assert done_by == {"google": [host.name] * 2}
    assert len(harbour.launches()) == before + 1


def reaches(host: Host, address: str, port: int) -> bool:
    return host.run(f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}'").returncode == 0


def test_killed_head_process_comes_back_with_its_jobs_and_machines(harbour: Harbour) -> None:
    """While one job runs on machines of two clouds, and another one waits for a host."""
    harbour.submit("runs", "python ~/demand.py google=3,east=3 15 300")
    wait_until(lambda: harbour.working("google") and harbour.working("east"), "both work", timeout_s=240)
    harbour.submit("waits", "hostname", "--entrypoint-resources", '{"own": 1}')
    machines, launches = harbour.machines(), len(harbour.launches())
    killed = harbour.on_head("pgrep -x gcs_server")
    harbour.on_head(f"kill -9 {killed}")
    back_s = wait_until(lambda: set(harbour.jobs()) == {"runs", "waits"}, "the jobs are known", timeout_s=60)
    assert harbour.on_head("pgrep -x gcs_server") != killed
    harbour.cluster.seconds["killed head to jobs"] = round(back_s, 2)
    wait_until(lambda: set(harbour.jobs().values()) == {"SUCCEEDED"}, "both jobs are done", timeout_s=300)
    hosts = answer_in(harbour.on_head(f"ray job logs {DASHBOARD} runs"))["hosts"]
    assert {*hosts["google"], *hosts["east"]} == {f"ip-{one.address.replace('.', '-')}" for one in machines}
    assert {launch.node_type for launch in harbour.launches()[launches:]} <= {"own"}


def test_machine_whose_launch_got_no_answer_is_ended(harbour: Harbour) -> None:
    """The east makes it, answers with an error and is silent then, so that the west is asked instead."""
    wait_until(lambda: not harbour.machines(), "idle machines end", timeout_s=120)
    weather = harbour.ec2.weather
    weather.sold_out.clear()
    weather.lost_launches, weather.silence_s = 1, 8.0
    harbour.ec2.announce()
    done_by = harbour.cluster.ask({"spot": 1})
    assert is_in(done_by["spot"][0], "west")
    wait_until(lambda: [each for each in harbour.decisions() if each.action == "sweep"], "a sweep", timeout_s=120)
    wait_until(lambda: not harbour.machines(), "all machines end", timeout_s=120)


def test_nothing_is_left(harbour: Harbour) -> None:
    harbour.cluster.down()
    harbour.cluster.seconds["leaked machines"] = len(harbour.machines())
    assert harbour.machines() == []
    wait_until(lambda: set(harbour.hosts.running) == {LAPTOP, HEAD, OWN}, "rented hosts end", timeout_s=30)
    for address in (HEAD, OWN):
        assert not [line for line in harbour.hosts.running[address].processes() if "ray/" in line]
    harbour.cluster.publish("hybrid")
