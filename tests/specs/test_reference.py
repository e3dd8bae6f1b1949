from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.specs import Reference
from tradewind.specs.reference import check_name

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("harbour", Reference("harbour")),
        ("harbour-8b@3", Reference("harbour-8b", version=3)),
        ("harbour@v3", Reference("harbour", version=3)),
        ("harbour@007", Reference("harbour", version=7)),
        ("harbour@prod", Reference("harbour", alias="prod")),
        ("harbour@v", Reference("harbour", alias="v")),
        ("harbour@3.1", Reference("harbour", alias="3.1")),
    ],
)
def test_reference_is_a_name_with_a_version_or_an_alias(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@prod",
        "a@",
        "a@0",
        "a@v0",
        "a@-1",
        "a@@1",
        "a@1@2",
        "A@1",
        "a@Prod",
        "a b",
        "a/b",
        "../a",
        ".a",
        "a@ 1",
        "a" * 64,
        "a\n",
        "a@1\n",
        "é",
        "a@" + "9" * 13,
        "a@" + "9" * 5000,
        "a@v" + "9" * 5000,
        "a@١",
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Reference.parse(text)
    assert caught.value.hint is not None


@given(names, st.integers(1, 10**12 - 1))
def test_every_version_reads_back(name: str, version: int) -> None:
    reference = Reference(name, version=version)
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(f"{name}@v{version}") == reference


@given(names, names)
def test_every_tail_is_a_version_or_an_alias_or_refused_and_reads_back(name: str, tail: str) -> None:
    try:
        reference = Reference.parse(f"{name}@{tail}")
    except SpecError:
        assert tail.removeprefix("v").isdecimal()
        return
    assert (reference.version is None) != (reference.alias is None)
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=12))
def test_any_text_is_a_reference_or_a_spec_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except SpecError:
        return
    assert Reference.parse(str(reference)) == reference


@given(names)
def test_every_name_is_a_safe_folder(name: str) -> None:
    assert check_name(name) == name
    assert "/" not in name
    assert name not in (".", "..")
