from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.specs.applications import place_of
from tradewind.specs.document import Document, Where
from tradewind.specs.editing import edited

PLAIN = """\
# Why it is here.
kind: serve
name: chat  # its name
max_concurrency: 8   # for now

engine_settings:
  # of the engine alone
  prompt_tokens: 64
traffic: {tokens_in: 9, tokens_out: 3}
where:
  chips: [cpu]
"""

SERVE = """\
applications:
  - name: other
    import_path: another:build
    args: {max_concurrency: 1}
  - name: chat
    import_path: tradewind.serving.application:build
    args:
      name: chat
      model: pilot  # the newest
      parallel:
        tensor: 2
"""


def test_values_change_where_they_stand_and_comments_stay() -> None:
    made = edited(PLAIN, (), {"max_concurrency": 12, "engine_settings": {"prompt_tokens": 256}})
    assert made == PLAIN.replace("max_concurrency: 8 ", "max_concurrency: 12 ").replace("64", "256")


def test_new_keys_stand_in_lines_of_their_own_behind_the_last_short_one() -> None:
    made = edited(PLAIN, (), {"profile": "latency", "engine_settings": {"cache_tokens": 9}, "traffic": {"itl_s": 0.1}})
    wanted = PLAIN.replace("prompt_tokens: 64", "prompt_tokens: 64\n  cache_tokens: 9")
    wanted = wanted.replace("tokens_out: 3}", "tokens_out: 3, itl_s: 0.1}\nprofile: latency")
    assert made == wanted


def test_application_of_a_file_of_ray_serve_is_changed_alone() -> None:
    where = place_of(Document.parse(SERVE, name="here"), "chat")
    assert where == ("applications", 1, "args")
    made = edited(SERVE, where, {"max_concurrency": 4, "engine_settings": {"prompt_tokens": 8}})
    lines = "\n      max_concurrency: 4\n      engine_settings: {prompt_tokens: 8}"
    assert made == SERVE.replace("# the newest", f"# the newest{lines}")


def test_file_without_a_line_end_and_one_of_blocks_alone() -> None:
    assert edited("a: 1", (), {"b": 2}) == "a: 1\nb: 2"
    assert edited("a:\n  c: 1\n", (), {"b": 2}) == "b: 2\na:\n  c: 1\n"


@pytest.mark.parametrize(
    ("text", "where"), [("a: &x {b: 1}\nc: *x\n", ()), ("base: &x\n  b: 1\na:\n  <<: *x\n  d: 2\n", ())]
)
def test_value_that_is_shared_is_never_changed_for_others(text: str, where: Where) -> None:
    try:
        made = yaml.safe_load(edited(text, where, {"a": {"b": 5}}))
    except SpecError:
        return
    before = yaml.safe_load(text)
    assert made["a"]["b"] == 5
    assert {key: value for key, value in made.items() if key != "a"} == {
        key: value for key, value in before.items() if key != "a"
    }


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(SpecError, match=r"a\.0 is not a mapping"):
        edited("a: [1]", ("a", 0), {"b": 1})


words = st.sampled_from(["a", "b", "c", "d"])
values = st.integers() | st.booleans() | st.text("x: #'é", max_size=6) | st.none()
blocks = st.dictionaries(words, values | st.dictionaries(words, values, min_size=1, max_size=3), min_size=1, max_size=4)


@given(before=blocks, changes=st.dictionaries(words, values, max_size=3), style=st.sampled_from([True, False, None]))
def test_any_mapping_reads_back_with_its_changes(
    before: dict[str, Any], changes: dict[str, Any], style: bool | None
) -> None:
    text = yaml.safe_dump(before, default_flow_style=style, sort_keys=False)
    assert yaml.safe_load(edited(text, (), changes)) == {**before, **changes}
