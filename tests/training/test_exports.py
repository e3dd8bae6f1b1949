"""What a run exports, of each family, in transformers: it loads whole, and continues and answers as our own model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import Ranks
from tests.training.exports import MODELS, QUESTION, answering, exported, prepare, trained
from tradewind.storage import Store, open_store
from tradewind.training.hugging_face import full_tensors, load_into, tensors, write_weights
from tradewind.training.model import Decoder
from tradewind.training.origin import read_shape

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("name", MODELS)
def test_exports_of_runs_continue_and_answer_in_transformers_as_here(
    name: str, ranks: Ranks, store: Store, tmp_path: Path
) -> None:
    base = trained(ranks, store, name, tmp_path / f"{name} base")
    tuned = answering(ranks, store, name, base, tmp_path / f"{name} tuned")
    for folder in (base, tuned):
        made: Any = loaded(folder)
        tokenizer: Any = tokenizer_of(folder)
        ids = tokenizer("the harbour, the", return_tensors="pt")["input_ids"]
        if folder == tuned:
            ids = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            said = made.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
            logits = decoder(folder)(said)
            torch.testing.assert_close(made(said).logits, logits, atol=1e-4, rtol=1e-4)
        assert said[0, ids.shape[1] :].tolist() == logits[0, ids.shape[1] - 1 : -1].argmax(-1).tolist()
    assert moved(base, tuned)


def test_exports_of_routers_hold_what_balancing_has_set(ranks: Ranks, store: Store, tmp_path: Path) -> None:
    base = trained(ranks, store, "deepseek", tmp_path / "balanced")
    biases = [bias for name, bias in tensors(base) if name.endswith("e_score_correction_bias")]
    assert [bias.dtype for bias in biases] == [torch.float32]
    assert biases[0].abs().max() > 0


@pytest.mark.parametrize("name", MODELS)
def test_run_that_learns_nothing_gives_weights_in_bfloat16_back_bit_for_bit(
    name: str, ranks: Ranks, store: Store, tmp_path: Path
) -> None:
    """At a rate that moves no float32 number; what balancing sets is no matter of the rate."""
    base = trained(ranks, store, name, tmp_path / f"{name} given")
    model = decoder(base)
    write_weights(full_tensors(model), model.shape, base, dtype=torch.bfloat16)
    wishes = {"precision": {"compute": "bfloat16"}, "optimizer": {"learning_rate": 1e-30}, "max_steps": 1}
    copy = exported(ranks, store, name, "logbook@1", tmp_path / f"{name} copy", start_from=str(base), **wishes)
    given = dict(tensors(base))
    assert {weight.dtype for weight in given.values()} >= {torch.bfloat16}
    assert not [one for one in moved(base, copy) if not one.endswith("e_score_correction_bias")]


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    made, report = model
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return made.eval()


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def decoder(folder: Path) -> Decoder:
    store = open_store(str(folder))
    model = Decoder(read_shape(store))
    load_into(model, store)
    return model.eval()


def moved(before: Path, after: Path) -> list[str]:
    """The tensors that are not the same numbers any more."""
    first = dict(tensors(before))
    return [name for name, weight in tensors(after) if not torch.equal(weight, first[name].to(weight.dtype))]
