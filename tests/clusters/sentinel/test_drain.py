from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import free_port
from tradewind.clusters.sentinel.drain import METHOD, PREEMPTION, drain, drain_request, token
from tradewind.clusters.sentinel.raylet import Raylet

NODE = "14ad9a9bfd07abb97a3802cbd9bb782fea96e906e0409f63a8a279bf"


def rays_messages() -> Any:
    """Its classes are made when it is imported, where no type checker looks."""
    from ray.core.generated import autoscaler_pb2

    return autoscaler_pb2


@given(reason=st.text(), deadline_s=st.integers(0, 2**40))
def test_request_is_the_one_that_ray_reads(reason: str, deadline_s: int) -> None:
    autoscaler_pb2 = rays_messages()
    read = autoscaler_pb2.DrainNodeRequest.FromString(drain_request(NODE, reason=reason, deadline_unix_s=deadline_s))
    assert read.node_id.hex() == NODE
    assert (read.reason_message, read.deadline_timestamp_ms) == (reason, deadline_s * 1000)
    assert read.reason == autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION") == PREEMPTION
    assert read.SerializeToString() == read.FromString(read.SerializeToString()).SerializeToString()


def test_reply_that_accepts_starts_with_that_word() -> None:
    autoscaler_pb2 = rays_messages()
    assert autoscaler_pb2.DrainNodeReply(is_accepted=True).SerializeToString().startswith(b"\x08\x01")
    assert not autoscaler_pb2.DrainNodeReply(rejection_reason_message="no").SerializeToString().startswith(b"\x08\x01")


def test_method_is_one_of_rays() -> None:
    autoscaler_pb2 = rays_messages()
    service, method = METHOD.removeprefix("/").split("/")
    assert autoscaler_pb2.DESCRIPTOR.package == service.rpartition(".")[0]
    found = autoscaler_pb2.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[method]
    assert (found.input_type.name, found.output_type.name) == ("DrainNodeRequest", "DrainNodeReply")


def test_head_that_is_not_there_is_said_in_bounded_time() -> None:
    raylet = Raylet(psutil.Process(), NODE, f"127.0.0.1:{free_port()}", is_head=False)
    with pytest.raises(ConnectionError, match=r"did not take the drain: (UNAVAILABLE|DEADLINE_EXCEEDED)"):
        drain(raylet, reason="spot", deadline_unix_s=0)


@pytest.mark.parametrize("place", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "HOME"])
def test_token_is_where_ray_looks_for_it(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token() == ""
    (tmp_path / ".ray").mkdir()
    file = tmp_path / (".ray/auth_token" if place == "HOME" else "token")
    file.write_text("a-word\n")
    monkeypatch.setenv(place, {"RAY_AUTH_TOKEN": "a-word\n", "HOME": str(tmp_path)}.get(place, str(file)))
    assert token() == "a-word"
