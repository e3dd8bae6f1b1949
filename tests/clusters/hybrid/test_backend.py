"""One backend over a provider of Ray that can be slow, fail and lag behind."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from tradewind.clusters.hybrid import backend as module
from tradewind.clusters.hybrid.backend import Backend


@dataclass
class Fleet:
    """What Ray's backends call: of a cloud whose listing may fail, wait or not show what is new."""

    there: dict[str, dict[str, str]] = field(default_factory=dict)
    error: Exception | None = None
    open: threading.Event = field(default_factory=threading.Event)
    hidden: set[str] = field(default_factory=set)
    asked_for_addresses: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    def non_terminated_nodes(self, tags: dict[str, str]) -> list[str]:
        self.open.wait(10)
        if self.error:
            raise self.error
        return [name for name, own in self.there.items() if name not in self.hidden and tags.items() <= own.items()]

    def is_running(self, name: str) -> bool:
        return name in self.there

    def node_tags(self, name: str) -> dict[str, str]:
        return self.there[name]

    def internal_ip(self, name: str) -> str | None:
        self.asked_for_addresses += 1
        return f"10.0.0.{len(name)}" if "address" in self.there[name] else None

    def external_ip(self, name: str) -> str:
        return "203.0.113.1"

    def create_node(self, config: dict[str, Any], tags: dict[str, str], count: int) -> None:
        """As Azure's: gives nothing back."""
        self.there |= {f"{tags['token']}-{number}": dict(tags) for number in range(count)}

    def terminate_nodes(self, names: list[str]) -> None:
        for name in names:
            if name not in self.there:
                raise Exception({"errors": [{"code": "notFound"}]})
            self.hidden.add(name)


def backend(fleet: Fleet, **settings: Any) -> Backend:
    return Backend("west", "gcp", fleet, **settings)


def shown(own: Backend, **named: Any) -> list[str]:
    return sorted(machine.native for machine in own.machines(**named))


def test_listing_that_fails_leaves_what_was_last_seen() -> None:
    fleet = Fleet({"a": {}})
    own = backend(fleet)
    assert shown(own) == ["a"]
    fleet.error = TimeoutError("timed out")
    assert shown(own) == ["a"]
    assert own.trouble is not None
    assert own.age_s is not None
    fleet.error = None
    fleet.there.clear()
    assert shown(own) == []
    assert own.trouble is None


def test_listing_that_takes_too_long_is_not_waited_for_and_not_asked_twice() -> None:
    fleet = Fleet({"a": {}})
    own = backend(fleet)
    shown(own)
    fleet.open.clear()
    fleet.there["b"] = {}
    assert shown(own, timeout_s=0.01) == shown(own, timeout_s=0.01) == ["a"]
    assert own.trouble is not None
    assert "no answer to a listing within 0.01 s" in own.trouble.reason
    fleet.open.set()
    assert shown(own) == ["a", "b"]


def test_new_machine_is_there_before_the_cloud_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(hidden={"t-0"})
    own = backend(fleet)
    own.keep(["t-0"], {"token": "t"})
    assert shown(own) == ["t-0"]
    assert not own.machines()[0].running
    monkeypatch.setattr(module, "APPEARS_S", 0.0)
    assert shown(own) == []


def test_machines_of_a_provider_that_names_none_are_found_by_their_tag() -> None:
    own = backend(Fleet({"other-0": {"token": "other"}}))
    assert own.create({}, {"token": "t"}, 2, token_tag="token") == ["t-0", "t-1"]


def test_ended_machine_is_hidden_while_the_cloud_still_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet({"a": {}, "b": {}})
    own = backend(fleet)
    shown(own)
    own.end(["a"])
    fleet.hidden.clear()
    assert shown(own) == ["b"]
    monkeypatch.setattr(module, "ENDING_S", 0.0)
    assert shown(own) == ["a", "b"], "it was not ended after all"


def test_ending_what_is_gone_ends_the_others() -> None:
    fleet = Fleet({"a": {}, "b": {}})
    own = backend(fleet)
    shown(own)
    own.end(["gone", "a", "b"])
    assert shown(own) == []
    assert fleet.hidden == {"a", "b"}


def test_address_is_asked_for_until_there_is_one() -> None:
    fleet = Fleet({"a": {}})
    own = backend(fleet)
    assert own.address("a", "internal") is None
    fleet.there["a"]["address"] = "yes"
    assert own.address("a", "internal") == own.address("a", "internal") == "10.0.0.1"
    assert fleet.asked_for_addresses == 2
    assert own.address("a", "external") == "203.0.113.1"
