from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tradewind.clusters.render.emitter import WIDTH, block

scalars = st.one_of(
    st.integers(), st.booleans(), st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=30)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-_/.", min_size=1, max_size=9), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(
    st.dictionaries(st.text("abcd", min_size=1, max_size=9), values, min_size=1, max_size=5), st.sampled_from([0, 2, 6])
)
def test_values_read_back(value: dict[str, Any], indent: int) -> None:
    assert yaml.safe_load(block(value, indent)) == value


@given(st.lists(st.text("abc:#'\"$(){}|&-", min_size=1, max_size=40), min_size=1, max_size=30))
def test_long_command_is_folded_and_reads_back(words: list[str]) -> None:
    command = " ".join(words)
    assert yaml.safe_load(block([command], 2)) == [command]


def test_short_parts_are_on_one_line_and_long_ones_are_not() -> None:
    value = {"short": {"a": 1, "b": [2, 3]}, "long": {str(number): "word" * 5 for number in range(9)}}
    lines = block(value, 0).splitlines()
    assert lines[0] == "short: {a: 1, b: [2, 3]}"
    assert lines[1:3] == ["long:", f"  '0': {'word' * 5}"]
    assert all(len(line) <= WIDTH for line in lines)


def test_text_of_several_lines_keeps_them() -> None:
    assert block({"script": "one\ntwo\n"}, 2).splitlines() == ["  script: |", "    one", "    two"]
