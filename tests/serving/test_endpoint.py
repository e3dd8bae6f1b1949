from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import free_port as any_free_port
from tradewind.clusters import is_gone, this_process
from tradewind.errors import CapacityError, NotFoundError, SpecError
from tradewind.records import EndpointState, ProcessName
from tradewind.registry import Models
from tradewind.serving import Endpoint, check, check_port, every, find, free_port
from tradewind.specs import ServeSpec
from tradewind.storage import RecordLog, Store, open_store

HOST = socket.gethostname()
GONE = ProcessName(host=HOST, pid=os.getpid(), started=1.0)
ELSEWHERE = ProcessName(host="elsewhere", pid=1, started=1.0)


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def record(store: Store, name: str = "chat", **changes: Any) -> Endpoint:
    """An endpoint of this process, unless said otherwise."""
    values: dict[str, Any] = {
        "status": "up",
        "url": "http://127.0.0.1:8000",
        "model": "pilot@1",
        "engine": "transformers",
        "process": this_process(),
        "spec": {},
    }
    RecordLog(store, f"endpoints/{name}", EndpointState).append(
        lambda change, writer: EndpointState(name=name, change=change, writer=writer, **(values | changes))
    )
    return find(store, name)


def add_model(store: Store) -> None:
    models = Models(store)
    models.add("pilot", {"a": b""}, parents=(), family="llama", parameters=1, context=1, heldout_loss=None, card={})
    models.promote("pilot", alias="prod")


class TestPort:
    def test_free_port_is_fine(self) -> None:
        check_port("127.0.0.1", any_free_port())
        check_port("0.0.0.0", any_free_port())

    def test_busy_port_is_refused_with_a_free_one_above_it(self, busy_port: int) -> None:
        with pytest.raises(SpecError, match=rf"^port {busy_port} on 127\.0\.0\.1 is in use$") as caught:
            check_port("127.0.0.1", busy_port)
        assert caught.value.hint is not None
        proposed = int(caught.value.hint.removeprefix("choose another: --port "))
        assert proposed > busy_port
        check_port("127.0.0.1", proposed)

    def test_port_that_was_just_left_is_fine(self) -> None:
        """A server that ended a moment ago leaves connections in TIME_WAIT."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as accepted:
                accepted.shutdown(socket.SHUT_RDWR)
        check_port("127.0.0.1", port)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may listen on every port")
    def test_port_of_the_system_is_refused(self) -> None:
        with pytest.raises(SpecError, match="port 80 needs more rights"):
            check_port("127.0.0.1", 80)

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "::1"])
    def test_address_of_another_machine_is_refused_and_no_port_proposed(self, host: str) -> None:
        with pytest.raises(SpecError, match=f"cannot listen on {host}: ") as caught:
            check_port(host, any_free_port())
        assert caught.value.hint == "127.0.0.1 is this machine alone, 0.0.0.0 everyone"

    def test_last_port_that_is_busy_is_refused_all_the_same(self) -> None:
        try:
            server = socket.create_server(("127.0.0.1", 65535))
        except OSError:
            pytest.skip("something else listens there")
        with server, pytest.raises(SpecError, match=r"port 65535 .* is in use"):
            check_port("127.0.0.1", 65535)

    def test_free_port_is_the_first_that_is_free(self, busy_port: int) -> None:
        assert busy_port < free_port(busy_port) < busy_port + 100
        free = any_free_port()
        assert free_port(free) == free

    def test_beyond_the_last_port_there_is_none(self) -> None:
        with pytest.raises(CapacityError, match="no free port from 65536 on"):
            free_port(65536)


class TestRecords:
    def test_endpoint_of_a_living_process_is_up(self, store: Store) -> None:
        endpoint = record(store)
        assert (endpoint.name, endpoint.url, endpoint.is_up) == ("chat", "http://127.0.0.1:8000", True)

    def test_endpoint_of_a_process_that_is_gone_is_down(self, store: Store) -> None:
        assert not record(store, process=GONE).is_up

    @pytest.mark.parametrize("process", [ELSEWHERE, None])
    def test_endpoint_elsewhere_is_up_as_long_as_nobody_says_otherwise(
        self, store: Store, process: ProcessName | None
    ) -> None:
        assert record(store, process=process).is_up
        assert not record(store, process=process, status="down").is_up

    def test_newest_record_counts(self, store: Store) -> None:
        record(store)
        record(store, status="down")
        assert not find(store, "chat").is_up
        record(store, url="http://127.0.0.1:9000")
        assert find(store, "chat").url == "http://127.0.0.1:9000"

    def test_marked_down_once(self, store: Store) -> None:
        endpoint = record(store)
        endpoint.mark_down()
        endpoint.mark_down()
        states = list(RecordLog(store, "endpoints/chat", EndpointState).all())
        assert [state.status for state in states] == ["up", "down"]
        assert states[1].parents == ("endpoint:chat/1",)
        assert states[1].url == states[0].url

    def test_every_endpoint_is_listed_by_name(self, store: Store) -> None:
        assert list(every(store)) == []
        for name in ("quay", "anchor", "quay"):
            record(store, name)
        assert [endpoint.name for endpoint in every(store)] == ["anchor", "quay"]

    def test_unknown_endpoint_is_answered_with_the_nearest(self, store: Store) -> None:
        record(store)
        with pytest.raises(NotFoundError, match=r"no endpoint named 'chta' \(did you mean 'chat'\?\)"):
            find(store, "chta")


class TestStop:
    def test_endpoint_whose_process_is_gone_is_not_up_and_recorded_as_down(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="endpoint 'chat' is not up"):
            record(store, process=GONE).stop()
        assert find(store, "chat").record.status == "down"

    def test_endpoint_that_was_stopped_cannot_be_stopped(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="endpoint 'chat' is not up"):
            record(store, status="down").stop()

    def test_endpoint_of_another_machine_is_left_to_it(self, store: Store) -> None:
        with pytest.raises(SpecError, match="endpoint 'chat' runs on elsewhere") as caught:
            record(store, process=ELSEWHERE).stop()
        assert caught.value.hint == "stop it there"
        assert find(store, "chat").record.status == "up"

    def test_process_that_holds_an_endpoint_is_ended(self, store: Store) -> None:
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
            name = ProcessName(host=HOST, pid=child.pid, started=psutil.Process(child.pid).create_time())
            record(store, process=name).stop()
            assert is_gone(name)
        assert find(store, "chat").record.status == "down"


class TestCheck:
    def spec(self, **changes: Any) -> ServeSpec:
        return ServeSpec.of(**({"name": "chat", "model": "pilot@prod", "port": any_free_port()} | changes))

    def test_alias_is_resolved_to_its_version(self, store: Store) -> None:
        add_model(store)
        assert check(store, self.spec()).reference == "pilot@1"

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"model": "pilto"}, r"did you mean 'pilot'\?"),
            ({"model": "pilot@prd"}, r"did you mean 'prod'\?"),
            ({"engine": "transformer"}, r"did you mean 'transformers'\?"),
            ({"scaling": {"policy": "token"}}, r"did you mean 'tokens'\?"),
            ({"adapters": {"pirate": "pilto"}}, r"did you mean 'pilot'\?"),
        ],
    )
    def test_what_is_not_there_is_answered_with_the_nearest(
        self, store: Store, changes: dict[str, str], complaint: str
    ) -> None:
        add_model(store)
        with pytest.raises(NotFoundError, match=complaint):
            check(store, self.spec(**changes))

    def test_name_of_an_endpoint_that_is_up_is_taken(self, store: Store) -> None:
        add_model(store)
        record(store)
        with pytest.raises(SpecError, match=r"endpoint 'chat' is up already, at http://.*:8000") as caught:
            check(store, self.spec())
        assert caught.value.hint == "stop it: tw endpoints stop chat"

    def test_name_of_an_endpoint_that_is_down_is_free(self, store: Store) -> None:
        add_model(store)
        record(store, process=GONE)
        assert check(store, self.spec()).reference == "pilot@1"

    def test_busy_port_is_seen_before_anything_starts(self, store: Store, busy_port: int) -> None:
        add_model(store)
        with pytest.raises(SpecError, match="is in use"):
            check(store, self.spec(port=busy_port))


@pytest.mark.parametrize("prompt", ["def ", 'say "ahoy"', "it's\nnew", "$(whoami) \\ `id`"])
def test_curl_line_asks_for_the_prompt_as_it_is(store: Store, prompt: str) -> None:
    words = shlex.split(record(store).curl(prompt))
    assert words[:2] == ["curl", "http://127.0.0.1:8000/v1/completions"]
    assert json.loads(words[words.index("-d") + 1]) == {"model": "pilot@1", "prompt": prompt, "max_tokens": 48}


def test_client_points_to_the_endpoint(store: Store) -> None:
    assert str(record(store).client().base_url) == "http://127.0.0.1:8000/v1/"
