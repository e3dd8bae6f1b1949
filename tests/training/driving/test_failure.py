"""Which failures of workers Ray Train tries again."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2.api.config import FailureConfig
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from tradewind.errors import CapacityError, IntegrityError, StorageError, TradewindError
from tradewind.training.driving.failure import RemedyPolicy, cause_of, run_error
from tradewind.training.recovery import HangError, Preempted


def failed(error: Exception) -> WorkerGroupError:
    """What the controller sees when rank 1 has raised an error and rank 0 has lost its partner."""
    wrapped = UserExceptionWithTraceback(error, "traceback")
    return WorkerGroupError("workers failed", {0: ConnectionResetError("gloo"), 1: wrapped})


def policy() -> RemedyPolicy:
    return RemedyPolicy(FailureConfig(max_failures=2))


@pytest.mark.parametrize("error", [CapacityError("no room left"), IntegrityError("altered")])
def test_what_another_try_cannot_mend_ends_the_run_at_once(error: TradewindError) -> None:
    assert policy().make_decision(failed(error)) is FailureDecision.RAISE


@pytest.mark.parametrize("error", [StorageError("timeout"), HangError("silence"), RuntimeError("anything")])
def test_what_another_try_may_mend_is_tried_as_often_as_allowed(error: Exception) -> None:
    decide = policy()
    decisions = [decide.make_decision(failed(error)) for _ in range(3)]
    assert decisions == [FailureDecision.RETRY, FailureDecision.RETRY, FailureDecision.RAISE]


def test_cause_is_taken_out_of_rays_wrapper() -> None:
    error = IntegrityError("altered")
    assert cause_of(UserExceptionWithTraceback(error, "traceback")) is error


def test_workers_that_left_behind_a_checkpoint_have_not_failed_however_often() -> None:
    decide = policy()
    decisions = {decide.make_decision(failed(Preempted("the node is drained"))) for _ in range(10)}
    assert decisions == {FailureDecision.RETRY}
    assert decide.make_decision(failed(RuntimeError("anything"))) is FailureDecision.RETRY


def test_error_of_a_run_is_that_of_the_rank_that_knows_the_cause() -> None:
    error = run_error("r1", failed(CapacityError("no room left on the disk", hint="make some")))
    assert error.message == "run r1 failed: no room left on the disk (rank 1)"
    assert error.hint == "make some"
    assert error.failures == {0: "gloo", 1: "CapacityError: no room left on the disk"}


def test_rank_that_died_is_named_before_those_that_lost_it() -> None:
    died = WorkerHealthCheckFailedError("a poll failed", ActorDiedError())
    lost = UserExceptionWithTraceback(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection reset by peer"), "")
    error = run_error("r1", WorkerGroupError("workers failed", {0: lost, 3: died}))
    assert "(rank 3)" in error.message
    assert "Connection reset" not in error.message


def test_error_from_outside_the_workers_is_told_as_it_is() -> None:
    assert run_error("r1", ValueError("no such folder")).message == "run r1 failed: no such folder"


def test_failure_outside_of_the_workers_is_told_without_rays_words_and_with_its_hint() -> None:
    ours = run_error("pilot", ControllerError(StorageError("no answer", hint="look at the store")))
    assert (ours.message, ours.hint) == ("run pilot failed: no answer", "look at the store")
    other = run_error("pilot", ControllerError(ValueError("Traceback:\n  many lines\nno such node")))
    assert other.message == "run pilot failed: no such node"
