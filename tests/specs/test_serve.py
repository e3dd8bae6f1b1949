from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tradewind.errors import SpecError
from tradewind.specs import ServeSpec, load
from tradewind.specs.serve import is_place

TWO = """\
proxy_location: Disabled
applications:
  - name: now
    import_path: tradewind.serving.application:build
    args:
      name: now
      model: pilot@prod
      port: 8001
  - name: other
    import_path: somebody.else:app
  - name: next
    import_path: tradewind.serving.application:build
    args: {name: next, model: pilot, port: 8002}
"""
ONE = """\
applications:
  - name: chat
    import_path: tradewind.serving.application:build
    args:
      name: chat
      model: pilot@prod
      %s
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "app.yaml"
        path.write_text(text)
        return path

    return written


def spec(**changes: Any) -> ServeSpec:
    return ServeSpec.of(**({"name": "chat", "model": "pilot@prod"} | changes))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scaling": {"min": 4, "max": 2}}, "scaling: min 4 is above max 2"),
        ({"scaling": {"max": 0}}, "scaling.max: "),
        ({"scaling": {"min": -1}}, "scaling.min: "),
        ({"replicas": 2, "scaling": {}}, "replicas is a fixed number, and scaling changes it"),
        ({"replicas": 2, "base": 3}, "base 3 is above the 2 replicas that there may be"),
        ({"scaling": {"max": 2}, "base": 3}, "base 3 is above the 2 replicas"),
        ({"parallel": {"tensor": 4}, "chips_per_replica": 2}, "over 4 chips, and chips_per_replica is 2"),
        ({"replica_ports": [31010, 31000]}, "replica_ports is the first and the last port"),
        ({"model": "Pilot 3"}, "or the URL or path of a folder"),
        ({"adapters": {"pirate": "pirate@"}}, "adapters.pirate: "),
        ({"scaling": {"maxx": 2}}, r"unknown key 'maxx' in scaling \(did you mean 'max'\?\)"),
        ({"profile": "fast"}, "profile: "),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        spec(**changes)


def test_slots_are_those_of_the_profile_unless_they_are_given() -> None:
    def slots(**values: Any) -> int:
        return ServeSpec.of(name="chat", model="pilot", **values).slots

    assert [slots(profile=name) for name in ("latency", "balanced", "throughput")] == [4, 8, 32]
    assert [slots(profile=name, chips_per_replica=1) for name in ("latency", "throughput")] == [16, 256]
    assert slots(profile="throughput", max_concurrency=3) == 3


def test_chips_of_a_replica_are_those_it_is_divided_over() -> None:
    assert spec().chips == 0
    assert spec(chips_per_replica=2).chips == 2
    assert spec(parallel={"tensor": 4, "pipeline": 2}).chips == 8
    assert spec(parallel={"tensor": 4}, chips_per_replica=4).chips == 4


@pytest.mark.parametrize("model", ["s3://models/llama", "/models/llama", "./llama", "~/llama", "file:///models/llama"])
def test_model_may_be_a_place(model: str) -> None:
    assert is_place(spec(model=model).model)


@pytest.mark.parametrize("model", ["pilot", "pilot@3", "pilot@prod"])
def test_model_may_be_a_reference(model: str) -> None:
    assert not is_place(spec(model=model).model)


def test_file_of_ray_serve_holds_a_spec_for_each_application_of_ours(write: Callable[[str], Path]) -> None:
    specs = ServeSpec.load_all(write(TWO))
    assert [(one.name, one.model, one.port) for one in specs] == [
        ("now", "pilot@prod", 8001),
        ("next", "pilot", 8002),
    ]


def test_one_spec_is_not_taken_from_a_file_with_two(write: Callable[[str], Path]) -> None:
    with pytest.raises(SpecError, match="has 2 applications: now, next"):
        ServeSpec.load(write(TWO))


def test_every_loader_reads_both_kinds_of_files(write: Callable[[str], Path]) -> None:
    wanted = spec(port=8001)
    for text in (ONE % "port: 8001", "kind: serve\nname: chat\nmodel: pilot@prod\nport: 8001\n"):
        path = write(text)
        assert ServeSpec.load_all(path) == [ServeSpec.load(path)] == [load(path)] == [wanted]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ONE % "prot: 8001", r"app\.yaml:7: unknown key 'prot' \(did you mean 'port'\?\)"),
        (ONE % "port: 80010", r"app\.yaml:7: port: "),
        ((ONE % "").replace("name: chat\n      model", "name: talk\n      model"), r"app\.yaml:5: .* named 'chat'"),
        ("applications: 3", r"app\.yaml:1: applications is a list"),
        ("applications: [chat]", r"app\.yaml:1: an application is a mapping"),
        ("applications: [{name: a, import_path: a.b:c}]", "no application of tradewind"),
        ("proxy: x\napplications: []", r"app\.yaml:1: Ray Serve knows no key 'proxy'"),
        ("applications: [{name: a, import_path: 'tradewind.serving.application:build', args: 3}]", "args is a mapping"),
        ("applications: [{import_path: 'tradewind.serving.application:build', args: {model: a}}]", "name"),
    ],
)
def test_mistakes_in_a_file_of_ray_serve_are_named_with_their_line(
    write: Callable[[str], Path], text: str, complaint: str
) -> None:
    with pytest.raises(SpecError, match=complaint):
        ServeSpec.load_all(write(text))


def test_file_of_ray_serve_keeps_to_the_keys_that_ray_knows() -> None:
    from ray.serve.schema import ServeDeploySchema

    from tradewind.specs.applications import OF_SERVE

    assert set(OF_SERVE) <= set(ServeDeploySchema.model_fields)


def test_scaling_survives_the_way_through_yaml(write: Callable[[str], Path]) -> None:
    wished = spec(scaling={"min": 0, "max": 3, "ttft_s": "250ms"}, base=1, replica_ports=[31000, 31099])
    assert ServeSpec.load(write(wished.to_yaml())) == wished
