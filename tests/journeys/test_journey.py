"""From text files to a served model and its report, through the SDK, on real parts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.journeys.conftest import Journey

pytestmark = pytest.mark.slow

ALONE = """
import sys
sys.modules["tradewind"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = tokenizer("import json", return_tensors="pt")
answer = model.generate(**ids, max_new_tokens=8, do_sample=False)
print(tokenizer.decode(answer[0][ids["input_ids"].shape[1]:]))
"""


def test_training_learns_and_is_held_against_the_bigram_baseline(journey: Journey) -> None:
    end = journey.run.end
    metrics = journey.run.metrics()
    assert end is not None
    assert end.status == "finished"
    assert [row.step for row in metrics] == list(range(1, 61))
    assert metrics[-1].tokens == 60 * 8 * 64
    assert metrics[-1].loss < metrics[0].loss - 0.5
    assert end.bigram_loss is not None
    assert 2.0 < end.bigram_loss < 6.0
    assert end.heldout_loss == journey.run.best.heldout_loss


def test_the_exported_model_loads_with_transformers_alone_and_answers_like_the_endpoint(
    journey: Journey, tmp_path: Path
) -> None:
    folder = journey.model.export(tmp_path / "model")
    made = subprocess.run([sys.executable, "-c", ALONE, str(folder)], capture_output=True, text=True, check=True)
    served = journey.endpoint.client().completions.create(
        model="shelf@prod", prompt="import json", max_tokens=8, temperature=0
    )
    assert served.choices[0].text == made.stdout[:-1]


def test_a_streamed_answer_is_the_whole_answer_in_pieces(journey: Journey) -> None:
    client = journey.endpoint.client()
    whole = client.completions.create(model="shelf", prompt="def ", max_tokens=24, temperature=0)
    stream = client.completions.create(model="shelf", prompt="def ", max_tokens=24, temperature=0, stream=True)
    pieces = [chunk.choices[0].text for chunk in stream]
    assert "".join(pieces) == whole.choices[0].text
    assert len(pieces) > 5


def test_the_curl_line_that_is_shown_works(journey: Journey) -> None:
    answer = subprocess.run(
        f"{journey.endpoint.curl()} --silent", shell=True, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout)["usage"]["completion_tokens"] <= 48


def test_the_ledger_has_dataset_training_and_every_served_token(journey: Journey) -> None:
    answer = journey.endpoint.client().completions.create(model="shelf", prompt="class ", max_tokens=5)
    assert answer.usage is not None
    before = _served(journey)
    for _ in range(3):
        journey.endpoint.client().completions.create(model="shelf", prompt="class ", max_tokens=5, temperature=0)
    end = time.monotonic() + 20
    while _served(journey) < before + 15 and time.monotonic() < end:
        time.sleep(0.2)
    rows = {row.activity: row for row in journey.workspace.usage()}
    assert rows["dataset"].tokens_out == journey.dataset.record.tokens
    assert rows["training"].tokens_in == 60 * 8 * 64
    assert rows["training"].energy_basis == "estimated"
    assert _served(journey) >= before + 15


def test_the_report_tells_the_whole_lineage(journey: Journey) -> None:
    report = journey.workspace.report(journey.run, sample=("import ", "json"))
    assert report.path is not None
    assert report.path.read_text() == report.html
    for part in (
        journey.dataset.record.id,
        journey.run.record.id,
        journey.run.best.id,
        journey.model.record.id,
        "endpoint:shelf",
        "<svg",
        "estimated",
    ):
        assert part in report.html


def test_records_lead_from_the_endpoint_back_to_the_dataset(journey: Journey) -> None:
    assert journey.endpoint.record.parents == (journey.model.record.id,)
    assert journey.run.best.id in journey.model.record.parents
    assert journey.run.best.parents == (journey.run.record.id,)
    assert journey.run.record.parents == (journey.dataset.record.id,)


def _served(journey: Journey) -> int:
    return sum(row.tokens_out for row in journey.workspace.usage() if row.activity == "serving")
