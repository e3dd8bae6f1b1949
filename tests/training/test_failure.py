"""Which failures of workers Ray Train tries again."""

from __future__ import annotations

import pytest
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2.api.config import FailureConfig
from ray.train.v2.api.exceptions import WorkerGroupError

from tradewind.errors import CapacityError, IntegrityError, StorageError, TradewindError
from tradewind.training.failure import RemedyPolicy, cause_of


def failed(error: Exception) -> WorkerGroupError:
    """What the controller sees when rank 1 has raised an error and rank 0 has lost its partner."""
    wrapped = UserExceptionWithTraceback(error, "traceback")
    return WorkerGroupError("workers failed", {0: ConnectionResetError("gloo"), 1: wrapped})


def policy() -> RemedyPolicy:
    return RemedyPolicy(FailureConfig(max_failures=2))


@pytest.mark.parametrize("error", [CapacityError("no room left"), IntegrityError("altered")])
def test_what_another_try_cannot_mend_ends_the_run_at_once(error: TradewindError) -> None:
    assert policy().make_decision(failed(error)) is FailureDecision.RAISE


@pytest.mark.parametrize("error", [StorageError("timeout"), RuntimeError("anything")])
def test_what_another_try_may_mend_is_tried_as_often_as_allowed(error: Exception) -> None:
    decide = policy()
    decisions = [decide.make_decision(failed(error)) for _ in range(3)]
    assert decisions == [FailureDecision.RETRY, FailureDecision.RETRY, FailureDecision.RAISE]


def test_cause_is_taken_out_of_rays_wrapper() -> None:
    error = IntegrityError("altered")
    assert cause_of(UserExceptionWithTraceback(error, "traceback")) is error
