from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planner.machines import A100, H100, H200, MI300X, PROCESSORS, chip, node
from tradewind.errors import SpecError
from tradewind.families import known_model
from tradewind.planner import Layout, Node, ServingWork, TrainingSetup, TrainingWork
from tradewind.planner.fit import fits, serving_memory, training_memory
from tradewind.planner.parallel import (
    FEW_IN_FLIGHT,
    MOST_SERVING_SETUPS,
    check_one_kind,
    serving_setups,
    training_setups,
)
from tradewind.planner.search import BUBBLE, MOST_SETUPS

MODELS = ["llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b", "qwen3-30b-a3b", "deepseek-v2-lite", "deepseek-v3"]
TOKENS = [1024, 4096, 8192, 131072]

works = st.builds(
    lambda model, sequences, tokens: TrainingWork(known_model(model), 10, sequences, tokens),
    st.sampled_from(MODELS),
    st.sampled_from([8, 60, 96, 512, 1024]),
    st.sampled_from(TOKENS),
)
memories_gib = st.sampled_from([24, 40, 80, 141, 192, 288])


def machine(gib: float, chips: int) -> Node:
    return node(chip(f"chip of {gib} GiB", gib), chips)


def serving(model: str, *, weights: str = "bf16", tokens: int = 1280) -> ServingWork:
    return ServingWork(
        known_model(model), 1.0, 1.0, tokens_in=tokens, tokens_out=0, hours=1.0,
        weights=weights,  # type: ignore[arg-type]
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(works, memories_gib, st.sampled_from([1, 2, 3, 4, 6, 8, 16]), st.integers(1, 40))
def test_every_setup_divides_what_must_divide_and_fits(work: TrainingWork, gib: float, chips: int, nodes: int) -> None:
    on = machine(gib, chips)
    setups, lacks = training_setups(work, on, nodes)
    assert bool(setups) != bool(lacks)
    assert len(setups) <= MOST_SETUPS
    assert len({setup.layout.chips for setup in setups}) <= 1
    for setup in setups:
        layout, shape = setup.layout, work.shape
        assert layout.chips <= chips * nodes
        assert setup.sequences == work.sequences
        assert shape.heads % layout.tensor == shape.kv_heads % layout.tensor == shape.ffn % layout.tensor == 0
        assert layout.tensor <= chips
        assert layout.chips <= chips or chips % layout.tensor == 0
        assert layout.pipeline <= shape.layers
        assert work.tokens_per_sequence % layout.context == 0
        assert shape.experts is None or shape.experts.routed % layout.expert == 0
        assert shape.experts is not None or layout.expert == 1
        assert fits(training_memory(work, setup), on) is None


@settings(max_examples=60, deadline=None)
@given(works, memories_gib, st.sampled_from([1, 2, 4, 8]), st.integers(1, 24))
def test_more_memory_or_more_machines_never_refuse_what_was_accepted(
    work: TrainingWork, gib: float, chips: int, nodes: int
) -> None:
    setups, _ = training_setups(work, machine(gib, chips), nodes)
    if setups:
        assert training_setups(work, machine(gib * 1.5, chips), nodes)[0]
        assert training_setups(work, machine(gib, chips), nodes + 1)[0]
        assert training_setups(work, machine(gib, chips), 2 * nodes)[0]


def test_three_chips_are_used_where_the_batch_divides_and_two_where_it_does_not() -> None:
    on = machine(80, 3)
    for sequences, used in [(48, 3), (64, 2)]:
        setups, _ = training_setups(TrainingWork(known_model("llama-3.2-1b"), 10, sequences, 8192), on, 1)
        assert {setup.layout.chips for setup in setups} == {used}


def test_small_model_on_one_machine_is_neither_cut_into_stages_nor_along_its_sequences() -> None:
    setups, _ = training_setups(TrainingWork(known_model("llama-3.1-8b"), 10, 64, 8192), H100, 1)
    assert {(setup.layout.pipeline, setup.layout.context) for setup in setups} == {(1, 1)}
    assert Layout(shard=8) in {setup.layout for setup in setups}


def test_long_sequences_are_split_over_chips() -> None:
    setups, _ = training_setups(TrainingWork(known_model("llama-3.1-8b"), 10, 8, 131072), H200, 4)
    assert max(setup.layout.context for setup in setups) > 1


def test_pipelines_wait_for_a_tenth_of_a_step_at_most_where_the_batch_allows() -> None:
    setups, _ = training_setups(TrainingWork(known_model("llama-3.1-70b"), 10, 1024, 8192), H100, 16)
    piped = [setup for setup in setups if setup.layout.pipeline > 1]
    assert piped
    for setup in piped:
        waits = setup.layout.pipeline - 1
        assert waits / (setup.micro_batches + waits) <= BUBBLE or setup.micro_batch == 1


def test_experts_are_divided_inside_a_machine() -> None:
    setups, _ = training_setups(TrainingWork(known_model("qwen3-30b-a3b"), 10, 1024, 4096), H100, 4)
    apart = [setup.layout for setup in setups if setup.layout.expert > 1]
    assert apart
    assert all(layout.expert * layout.tensor * layout.context <= 8 for layout in apart)


def test_processors_train_as_the_trainer_here_does() -> None:
    work = TrainingWork(known_model("qwen3-0.6b"), 10, 8, 512, precision="fp32")
    assert training_setups(work, PROCESSORS, 4) == ([TrainingSetup(Layout(shard=4), 2, 1)], [])


def test_model_that_is_too_large_says_what_it_lacks() -> None:
    _, (lack,) = training_setups(TrainingWork(known_model("llama-3.1-405b"), 10, 64, 8192), H100, 1)
    assert lack.what == "memory of a H100-SXM"
    assert lack.need > 10 * lack.have


def test_batch_that_divides_over_no_group_of_chips_still_takes_one() -> None:
    setups, _ = training_setups(TrainingWork(known_model("llama-3.2-1b"), 10, 1, 8192), machine(80, 8), 5)
    assert {setup.layout.data for setup in setups} == {1}


@pytest.mark.parametrize("chips", range(1, 9))
def test_seventy_billion_weights_in_bf16_are_served_by_four_or_eight_chips_of_80(chips: int) -> None:
    on = dataclasses.replace(H100, chips=chips)
    setups, lacks = serving_setups(serving("llama-3.1-70b"), on)
    layouts = [setup.layout for setup in setups]
    if chips == 1:  # 141 GB do not fit one chip; whole machines of one chip are stages of a pipeline
        assert all(layout.pipeline > 1 for layout in layouts)
    elif chips in (2, 3):  # weights leave room for a few sequences
        assert Layout(tensor=2) in layouts or all(layout.pipeline > 1 for layout in layouts)
    else:
        assert layouts[0] == Layout(tensor=4)
        assert (Layout(tensor=8) in layouts) == (chips == 8)
    assert not lacks


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(MODELS), memories_gib, st.sampled_from([1, 2, 3, 4, 8, 16]), st.sampled_from([256, 4096, 32768]))
def test_every_replica_fits_with_what_it_has_in_flight(model: str, gib: float, chips: int, tokens: int) -> None:
    on, work = machine(gib, chips), serving(model, tokens=tokens)
    setups, lacks = serving_setups(work, on)
    assert bool(setups) != bool(lacks)
    assert len(setups) <= MOST_SERVING_SETUPS
    for setup in setups:
        assert setup.layout.replicate == 1
        assert setup.sequences >= 1
        assert fits(serving_memory(work, setup), on) is None


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODELS), memories_gib, st.sampled_from([1, 2, 4, 8]))
def test_more_memory_or_chips_never_refuse_a_model_that_was_served(model: str, gib: float, chips: int) -> None:
    if serving_setups(serving(model), machine(gib, chips))[0]:
        assert serving_setups(serving(model), machine(gib * 1.5, chips))[0]
        assert serving_setups(serving(model), machine(gib, 2 * chips))[0]


def test_small_replicas_come_first_and_hold_enough() -> None:
    setups, _ = serving_setups(serving("llama-3.1-8b"), H100)
    assert setups[0].layout == Layout()
    assert all(setup.sequences >= FEW_IN_FLIGHT for setup in setups)


def test_weights_in_a_format_that_the_chip_has_no_products_in_are_refused() -> None:
    assert serving_setups(serving("llama-3.1-8b", weights="fp8"), A100)[0] == []
    assert serving_setups(serving("llama-3.1-8b", weights="int4"), A100)[0]


def test_deepseek_takes_three_machines_of_eighty_in_bf16_and_one_of_141_in_fp8() -> None:
    eighty, _ = serving_setups(serving("deepseek-r1"), H100)
    assert eighty[0].layout.chips == 24
    more, _ = serving_setups(serving("deepseek-r1", weights="fp8"), H200)
    assert Layout(tensor=8) in [setup.layout for setup in more]


def test_chips_of_unknown_memory_are_refused() -> None:
    unknown = node(chip("rumour", None))
    (lack,) = training_setups(TrainingWork(known_model("llama-3.2-1b"), 1, 8, 1024), unknown, 1)[1]
    assert str(lack) == "the memory of a rumour is not known"
    assert serving_setups(serving("llama-3.2-1b"), unknown)[0] == []


def test_vendors_do_not_share_a_collective() -> None:
    with pytest.raises(SpecError, match="amd and nvidia chips cannot be in one group"):
        check_one_kind([H100, MI300X])


def test_chips_of_two_kinds_do_not_train_together() -> None:
    with pytest.raises(SpecError, match="A100-SXM-80GB and H100-SXM in one group would wait"):
        check_one_kind([H100, A100])
    check_one_kind([H100, H100])
