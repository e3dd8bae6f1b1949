from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from tradewind import errors
from tradewind.errors import NotFoundError, RunError, TradewindError, did_you_mean


def family_of(root: type[TradewindError]) -> Iterator[type[TradewindError]]:
    yield root
    for child in root.__subclasses__():
        yield from family_of(child)


ERRORS = tuple(family_of(TradewindError))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_each_error_survives_pickling(kind: type[TradewindError]) -> None:
    error = kind("the anchor is lost", hint="drop another")
    error.add_note("at sea")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.message, copy.hint, str(copy)) == ("the anchor is lost", "drop another", "the anchor is lost")
    assert copy.__notes__ == ["at sea"]
    assert copy.to_dict() == error.to_dict()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_each_error_has_a_remedy_and_an_exit_code_that_programs_know(kind: type[TradewindError]) -> None:
    assert kind.remedy in ("fix", "retry", "move")
    assert kind.exit_code in (1, 2)
    assert kind.exit_code == 1 or kind.remedy == "fix", "a request at fault is not mended by trying again"


def test_remedies_are_those_of_the_table_at_the_top_of_the_module() -> None:
    rows = [line.split()[:2] for line in (errors.__doc__ or "").splitlines() if line.startswith("      ")]
    assert dict(rows) == {kind.__name__: kind.remedy for kind in errors.TradewindError.__subclasses__()}


def test_run_error_keeps_failures_by_rank_through_pickling() -> None:
    error = RunError("the run failed", failures={0: "ZeroDivisionError: division by zero", 3: "killed by signal 9"})
    copy = pickle.loads(pickle.dumps(error))
    assert copy.failures == {0: "ZeroDivisionError: division by zero", 3: "killed by signal 9"}
    assert copy.to_dict()["failures"] == copy.failures


def test_run_error_does_not_change_with_the_mapping_that_it_was_made_of() -> None:
    failures = {0: "lost"}
    error = RunError("the run failed", failures=failures)
    failures.clear()
    assert error.failures == {0: "lost"}


def test_error_as_data_says_what_schedulers_and_clients_need() -> None:
    assert NotFoundError("no ship", hint="build one").to_dict() == {
        "error": "NotFoundError",
        "message": "no ship",
        "hint": "build one",
        "remedy": "fix",
    }


def test_did_you_mean_names_the_nearest() -> None:
    assert did_you_mean("awz", ["gcp", "aws", "azure"]) == " (did you mean 'aws'?)"


def test_did_you_mean_lists_what_is_known_when_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == " (known: a, b)"


def test_did_you_mean_is_silent_when_nothing_is_known() -> None:
    assert did_you_mean("zzz", []) == ""


def test_did_you_mean_cuts_a_long_list_and_says_so() -> None:
    assert did_you_mean("zzz", "abcdefgh") == " (known: a, b, c, d, e, f, g, h)"
    assert did_you_mean("zzz", "abcdefghi") == " (known: a, b, c, d, e, f, g, h, …)"
