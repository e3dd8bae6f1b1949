from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tradewind.errors import NotFoundError, SpecError
from tradewind.specs import (
    KINDS,
    CatalogSpec,
    ClusterSpec,
    DatasetSpec,
    ModelSpec,
    ServeSpec,
    Spec,
    TrainSpec,
    TuneSpec,
    load,
)

Write = Callable[[str], Path]

TRAIN = "kind: train\nname: pilot\ndataset: stdlib@1\n"
DATASET = "kind: dataset\nname: stdlib\ntext:\n  files: ['*.py']\n"
SERVE = "kind: serve\nname: chat\nmodel: pilot@prod\n"
CATALOG = "kind: catalog\nname: harbour\n"
CLUSTER = """\
kind: cluster
name: harbour
head: {place: aws/us-west-2, machine: m7i.large}
groups: {cpu: {candidates: [{place: aws/us-west-2, machine: m6i.2xlarge}]}}
"""
TUNE = """\
kind: tune
name: rates
train: {name: pilot, dataset: stdlib@1}
space: {optimizer.learning_rate: {log_uniform: [1e-4, 1e-2]}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_spec(text: str) -> Path:
        path = tmp_path / "wish.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_spec


def refusal(path: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load(path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (TRAIN, TrainSpec),
        (DATASET, DatasetSpec),
        (SERVE, ServeSpec),
        (CATALOG, CatalogSpec),
        (CLUSTER, ClusterSpec),
        (TUNE, TuneSpec),
    ],
)
def test_few_lines_are_enough_for_each_kind(write: Write, text: str, kind: type[Spec]) -> None:
    path = write(text)
    assert type(load(path)) is kind
    assert load(path) == kind.load(path)


def test_every_kind_has_an_example_in_these_tests() -> None:
    assert {text.split()[1] for text in (TRAIN, DATASET, SERVE, CATALOG, CLUSTER, TUNE)} == set(KINDS)


def test_units_are_read_in_a_spec(write: Write) -> None:
    spec = TrainSpec.load(write(TRAIN + "max_time_s: 2 min\ncheckpoint_every_s: 500ms\n"))
    assert (spec.max_time_s, spec.checkpoint_every_s) == (120.0, 0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (TRAIN + "modle: {}\n", "wish.yaml:4: unknown key 'modle' (did you mean 'model'?)"),
        (
            TRAIN + "model:\n  layers: 2\n  hiden: 64\n",
            "wish.yaml:6: unknown key 'hiden' in model (did you mean 'hidden'?)",
        ),
        (
            TRAIN + "optimizer: {xyz: 1}\n",
            "wish.yaml:4: unknown key 'xyz' in optimizer (known: kind, learning_rate, schedule,",
        ),
        ("kind: train\nname: pilot\n", "wish.yaml:1: dataset is missing"),
        ("kind: dataset\nname: a\ntext:\n  max_bytes: 1kB\n", "wish.yaml:3: text.files is missing"),
        (
            "kind: dataset\nname: a\ntext:\n  files:\n  - a\n  - 5\n",
            "wish.yaml:6: text.files.1: input should be a valid string",
        ),
        (
            TRAIN + "max_time_s: 5 parsecs\n",
            "wish.yaml:4: max_time_s: 'parsecs' in '5 parsecs' is not a unit of a time",
        ),
        (TRAIN + "max_time_s: -5s\n", "wish.yaml:4: max_time_s: '-5s' is not a time; use a number ≥ 0"),
        (TRAIN + "max_time_s: 1e308d\n", "wish.yaml:4: max_time_s: '1e308d' is not a time"),
        (TRAIN + "max_time_s: 0\n", "wish.yaml:4: max_time_s: input should be greater than 0"),
        (TRAIN + "workers: -1\n", "wish.yaml:4: workers: input should be greater than or equal to 1, not -1"),
        (TRAIN + "workers: many\n", "wish.yaml:4: workers: input should be a valid integer"),
        (TRAIN + "workers: yes\n", "wish.yaml:4: workers: a number is needed, not True"),
        (
            TRAIN + "optimizer:\n  learning_rate: true\n",
            "wish.yaml:5: optimizer.learning_rate: a number is needed, not True",
        ),
        (
            TRAIN + "optimizer: {learning_rate: .nan}\n",
            "wish.yaml:4: optimizer.learning_rate: input should be a finite",
        ),
        (
            TRAIN + "model: 5\n",
            "wish.yaml:4: model: input should be a valid dictionary or instance of ModelSpec, not 5",
        ),
        (TRAIN + "model: {hidden: 10}\n", "wish.yaml:4: model: hidden 10 over heads 4 must be an even head size"),
        (TRAIN + "model: {kv_heads: 3}\n", "wish.yaml:4: model: kv_heads 3 must divide heads 4"),
        (TRAIN + "workers: 50\n", "wish.yaml:1: batch.sequences 16 leaves some of 50 workers without work"),
        (TRAIN.replace("stdlib@1", "stdlib@0"), "wish.yaml:3: dataset: 'stdlib@0' is not a reference; write name@3"),
        (TRAIN.replace("pilot", "Pilot"), "wish.yaml:2: name: 'Pilot' is not a name; use 1 to 63 of a-z"),
        (DATASET + "shard_bytes: 4097\n", "wish.yaml:1: shard_bytes must be a multiple of 4"),
        (SERVE + "port: 65536\n", "wish.yaml:4: port: input should be less than or equal to 65535, not 65536"),
        ("kind: tarin\n", "wish.yaml:1: unknown kind 'tarin' (did you mean 'train'?)"),
        ("# a comment\nkind: [train]\n", "wish.yaml:2: unknown kind ['train']"),
        ("kind: {train: 1}\n", "wish.yaml:1: unknown kind {'train': 1}"),
        ("name: a\n", "wish.yaml: kind is missing"),
        ("kind:\nname: a\n", "wish.yaml: kind is missing"),
    ],
)
def test_mistake_is_named_with_file_and_line(write: Write, text: str, complaint: str) -> None:
    assert complaint in refusal(write(text)).message


def test_every_mistake_of_a_file_is_named_at_once(write: Write) -> None:
    lines = refusal(write("kind: train\nname: A\ndataset: b@0\nmodle: 1\n")).message.splitlines()
    assert [line.rpartition("wish.yaml:")[2][0] for line in lines] == ["2", "3", "4"]


def test_kind_of_another_spec_is_refused_by_the_class(write: Write) -> None:
    with pytest.raises(SpecError, match=r"wish\.yaml:1: this is a 'train' spec, not a 'serve' spec"):
        ServeSpec.load(write(TRAIN))


def test_file_without_a_kind_is_told_which(write: Write) -> None:
    with pytest.raises(SpecError, match="kind is missing") as caught:
        TrainSpec.load(write("name: pilot\ndataset: stdlib@1\n"))
    assert caught.value.hint == "start with a line `kind: train`"


def test_missing_file_is_not_found_and_its_neighbours_are_named(write: Write, tmp_path: Path) -> None:
    write(TRAIN)
    with pytest.raises(NotFoundError, match=r"no spec file '.*whish\.yaml'") as caught:
        load(tmp_path / "whish.yaml")
    assert "wish.yaml" in str(caught.value.hint)


def test_mistaken_keyword_argument_is_named_as_in_a_file() -> None:
    with pytest.raises(SpecError, match=r"TrainSpec: unknown key 'max_stps' \(did you mean 'max_steps'\?\)"):
        TrainSpec.of(name="a", dataset="b", max_stps=3)


def test_blocks_may_be_given_as_objects_or_as_mappings() -> None:
    as_object = TrainSpec.of(name="a", dataset="b", model=ModelSpec(hidden=64))
    assert as_object == TrainSpec.of(name="a", dataset="b", model={"hidden": 64})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_spec_and_each_block_is_frozen_and_refuses_unknown_keys(kind: type[Spec]) -> None:
    for model in (kind, *blocks_of(kind)):
        assert model.model_config.get("frozen") is True
        assert model.model_config.get("extra") == "forbid"


def blocks_of(kind: type[BaseModel]) -> list[type[BaseModel]]:
    parts = [part for field in kind.model_fields.values() for part in (field.annotation, *get_args(field.annotation))]
    return [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]


def test_spec_cannot_be_changed() -> None:
    spec = TrainSpec.of(name="a", dataset="b")
    with pytest.raises(ValidationError, match="frozen"):
        spec.workers = 4


def test_spec_survives_pickling() -> None:
    spec = TrainSpec.of(name="a", dataset="b@prod", max_time_s="1h")
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_with_values_changes_a_copy_at_any_depth() -> None:
    spec = TrainSpec.of(name="a", dataset="b")
    changed = spec.with_values(model__hidden=64, max_steps=5)
    assert (changed.model.hidden, changed.max_steps) == (64, 5)
    assert (spec.model.hidden, spec.max_steps) == (128, 1000)
    assert changed.model.layers == spec.model.layers


def test_with_values_replaces_a_block_that_is_given_whole() -> None:
    spec = TrainSpec.of(name="a", dataset="b", model={"layers": 7}).with_values(model={"hidden": 64})
    assert (spec.model.hidden, spec.model.layers) == (64, 4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max_stps": 1}, "unknown key 'max_stps' (did you mean 'max_steps'?)"),
        ({"modle__hidden": 64}, "unknown key 'modle' (did you mean 'model'?)"),
        ({"model__hiden": 64}, "unknown key 'hiden' in model (did you mean 'hidden'?)"),
        ({"model__hidden__x": 1}, "hidden has no part 'x'"),
        ({"max_time_s__x": 1}, "max_time_s has no part 'x'"),
        ({"model__kv_heads": 3}, "kv_heads 3 must divide heads 4"),
    ],
)
def test_with_values_refuses_mistakes_like_a_file(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        TrainSpec.of(name="a", dataset="b").with_values(**changes)
    assert complaint in caught.value.message


def test_yaml_starts_with_the_kind_and_holds_the_defaults() -> None:
    text = TrainSpec.of(name="a", dataset="b").to_yaml()
    assert text.startswith("kind: train\nname: a\n")
    assert "max_failures: 3" in text


names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
references = st.builds(
    "{}@{}".format, names, st.integers(1, 10**6) | names.filter(lambda tail: tail.strip("v0123456789") != "")
)
positive = st.floats(1e-9, 1e9)
globs = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)

datasets = st.builds(
    DatasetSpec.of,
    name=names,
    text=st.fixed_dictionaries(
        {"files": st.lists(globs, min_size=1, max_size=3)},
        optional={"exclude": st.lists(globs, max_size=2), "max_bytes": st.integers(1, 2**53)},
    ),
    heldout_fraction=st.floats(0.001, 0.499),
    shard_bytes=st.integers(1024, 2**40).map(lambda count: 4 * count),
)
trainings = st.builds(
    TrainSpec.of,
    name=names,
    dataset=references,
    model=st.fixed_dictionaries({}, optional={"hidden": st.sampled_from([8, 64, 128]), "tied": st.booleans()}),
    optimizer=st.fixed_dictionaries({}, optional={"learning_rate": positive, "betas": st.tuples(positive, positive)}),
    max_time_s=st.none() | positive,
    workers=st.integers(1, 16),
    seed=st.integers(0, 2**63),
)
endpoints = st.builds(
    ServeSpec.of, name=names, model=references, host=globs, port=st.integers(1, 65535), request_timeout_s=positive
)


@given(spec=datasets | trainings | endpoints)
def test_every_spec_reads_back_from_its_yaml(tmp_path_factory: pytest.TempPathFactory, spec: Spec) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(spec.to_yaml(), encoding="utf-8")
    assert load(path) == spec
