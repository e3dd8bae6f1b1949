from __future__ import annotations

import pytest

from tests.planner.offers import region
from tradewind.errors import SpecError
from tradewind.planner.choice.residency import check_residency, is_allowed

FRANKFURT = region("aws", "eu-central-1", country="DE")
VIRGINIA = region("aws", "us-east-1", country="US")
NOWHERE = region("lambda", "us-west-1", country="")


@pytest.mark.parametrize(
    ("residency", "allowed"),
    [
        ((), True),
        (("DE",), True),
        (("EU",), True),
        (("aws/eu-*",), True),
        (("FR", "DE"), True),
        (("US",), False),
        (("gcp/*",), False),
    ],
)
def test_region_is_allowed_by_country_union_or_place(residency: tuple[str, ...], allowed: bool) -> None:
    assert is_allowed(FRANKFURT, residency) is allowed


def test_region_of_unknown_country_is_in_no_country() -> None:
    assert not is_allowed(NOWHERE, ("US",))
    assert is_allowed(NOWHERE, ("lambda/*",))


def test_rule_that_no_region_can_meet_is_refused_with_the_nearest() -> None:
    check_residency(("DE", "EU", "aws/us-*"), [FRANKFURT, VIRGINIA])
    with pytest.raises(SpecError, match="residency 'De' is nowhere in the catalogue"):
        check_residency(("De",), [FRANKFURT, VIRGINIA])
