from __future__ import annotations

import dataclasses
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.doctor.ssh_server import ssh_server
from tradewind.clusters.doctor.hosts import Host, check_host, check_hosts, hosts_of
from tradewind.clusters.lint.part import Part

HOST = Host("10.0.0.1", "ubuntu", "", is_head=True)


def part(**values: Any) -> Part:
    return Part(values, {})


def test_host_that_lets_us_in_is_all_right(tmp_path: Path) -> None:
    with ssh_server(tmp_path, f"{time.time():.0f}\n127.0.0.1:22\n") as (proxy, key):
        found = check_host(dataclasses.replace(HOST, key=str(key), proxy=proxy))
    assert (found.state, found.what) == ("ok", "host 10.0.0.1")
    assert found.said.startswith("login works")


def test_key_that_does_not_open_a_host_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with ssh_server(tmp_path, "1\n") as (proxy, _), ssh_server(other, "1\n") as (_, key):
        found = check_host(dataclasses.replace(HOST, key=str(key), proxy=proxy))
    assert found.state == "problem"
    assert found.said == f"login as 'ubuntu' with {key} is refused"


def test_wrong_user_is_refused(tmp_path: Path) -> None:
    with ssh_server(tmp_path, "1\n") as (proxy, key):
        found = check_host(dataclasses.replace(HOST, user="root", key=str(key), proxy=proxy))
    assert "login as 'root'" in found.said


def test_host_that_is_not_there_is_found_in_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    before = time.monotonic()
    found = check_host(
        dataclasses.replace(
            HOST, proxy=f"{sys.executable} -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"
        )
    )
    assert found.state == "problem"
    assert found.said.startswith("no SSH server answers")
    assert time.monotonic() - before < 11


def test_clock_of_a_host_that_differs_is_said(tmp_path: Path) -> None:
    with ssh_server(tmp_path, f"{time.time() - 600:.0f}\n") as (proxy, key):
        found = check_host(dataclasses.replace(HOST, key=str(key), proxy=proxy))
    assert found.state == "problem"
    assert re.fullmatch(r"its clock is 6\d\d s from this one's", found.said)


@pytest.mark.parametrize(("is_head", "state"), [(True, "problem"), (False, "ok")])
def test_ports_that_a_head_needs_are_free(is_head: bool, state: str, tmp_path: Path) -> None:
    with ssh_server(tmp_path, f"{time.time():.0f}\n0.0.0.0:6379\n*:8265\n") as (proxy, key):
        found = check_host(dataclasses.replace(HOST, key=str(key), proxy=proxy, is_head=is_head))
    assert found.state == state
    assert ("ports 6379, 8265 are in use there" in found.said) == is_head


def test_shell_that_prints_something_first_is_a_problem(tmp_path: Path) -> None:
    with ssh_server(tmp_path, "welcome\n1\n") as (proxy, key):
        found = check_host(dataclasses.replace(HOST, key=str(key), proxy=proxy))
    assert found.said == "a command answers with 'welcome'"


def test_hosts_are_those_of_static_backends_each_with_its_own_login() -> None:
    found = hosts_of(
        part(
            auth={"ssh_user": "ubuntu", "ssh_private_key": "~/key"},
            provider={
                "type": "external",
                "backends": {
                    "a": {"type": "static", "hosts": ["10.0.0.1", "10.0.0.2"], "head": "10.0.0.1"},
                    "b": {"type": "static", "hosts": ["10.1.0.1"], "ssh_user": "ray"},
                    "c": {"type": "aws"},
                },
            },
        )
    )
    assert [(one.address, one.user, one.is_head) for one in found] == [
        ("10.0.0.1", "ubuntu", True),
        ("10.0.0.2", "ubuntu", False),
        ("10.1.0.1", "ray", False),
    ]


def test_hosts_of_rays_own_provider_are_looked_at_too() -> None:
    found = hosts_of(part(provider={"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}))
    assert [one.address for one in found] == ["10.0.0.1", "10.0.0.2"]


def test_file_without_hosts_has_none() -> None:
    assert list(check_hosts(part(provider={"type": "aws"}))) == []
