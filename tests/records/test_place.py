from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import SpecError
from tradewind.records import LOCAL, UNKNOWN, DatasetCopy, Place, boundary

WORDS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)
PLACES = st.lists(WORDS, max_size=3).map(lambda parts: Place.parse("/".join(parts)))


@given(place=PLACES)
def test_place_is_read_as_it_is_written(place: Place) -> None:
    assert Place.parse("" if place == UNKNOWN else str(place)) == place


@pytest.mark.parametrize(
    "text", ["aws/", "/us-east-1", "aws//a", "aws/b/c/d", "AWS/us-east-1", "aws/us east", "-a", " "]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not a place"):
        Place.parse(text)


def test_unknown_place_says_so() -> None:
    assert str(Place.parse("")) == "unknown"


@pytest.mark.parametrize(
    ("source", "target", "crossed"),
    [
        ("aws/us-east-1/us-east-1a", "aws/us-east-1/us-east-1a", "zone"),
        ("aws/us-east-1/us-east-1a", "aws/us-east-1/us-east-1b", "region"),
        ("aws/us-east-1", "aws/us-east-1/us-east-1b", "region"),
        ("aws/us-east-1", "aws/us-east-1", "region"),
        ("aws/us-east-1", "aws/us-west-2/us-west-2a", "cloud"),
        ("aws/us-east-1", "gcp/us-east1", "internet"),
        ("aws", "gcp", "internet"),
        ("aws", "aws/us-east-1", "unknown"),
        ("aws/us-east-1", "", "unknown"),
        ("", "", "unknown"),
        ("local", "", "none"),
        ("aws/us-east-1", "local", "none"),
    ],
)
def test_boundary_is_the_largest_thing_that_both_share(source: str, target: str, crossed: str) -> None:
    assert boundary(Place.parse(source), Place.parse(target)) == crossed
    assert boundary(Place.parse(target), Place.parse(source)) == crossed


@given(place=PLACES)
def test_nothing_is_crossed_to_a_folder(place: Place) -> None:
    assert boundary(LOCAL, place) == "none"


def test_copy_reads_back_with_its_place() -> None:
    copy = DatasetCopy(
        name="a", url="s3://b", place=Place.parse("aws/eu-west-1"), versions=(1, 2), change=1, writer="w"
    )
    assert DatasetCopy.from_json(copy.to_json(), where="here") == copy
