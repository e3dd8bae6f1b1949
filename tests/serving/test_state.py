from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.serving import state
from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def spec(host: str = "0.0.0.0") -> ServeSpec:
    return ServeSpec.of(name="chat", model="pilot", host=host, port=8010)


def test_same_state_is_written_once(store: Store) -> None:
    for model in ("pilot@1", "pilot@1", "pilot@2"):
        state.write(store, state.up(spec(), model, cluster="10.0.0.1:6379"))
    assert [one.model for one in state.log(store, "chat").all()] == ["pilot@1", "pilot@2"]


def test_endpoint_is_marked_down_once_and_can_come_up_again(store: Store) -> None:
    up = state.up(spec(), "pilot@1")
    state.write(store, up)
    state.mark_down(store, "chat")
    state.mark_down(store, "chat")
    state.write(store, up)
    assert [one.status for one in state.log(store, "chat").all()] == ["up", "down", "up"]


def test_endpoint_at_every_address_is_told_with_one_that_reaches_it() -> None:
    assert state.up(spec(), "pilot@1", address="10.0.0.7").url == "http://10.0.0.7:8010"
    assert state.up(spec("192.0.2.9"), "pilot@1", address="10.0.0.7").url == "http://192.0.2.9:8010"
