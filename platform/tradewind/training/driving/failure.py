"""Which failures of workers are worth another try, and what a person should read of those that are not.

Ray Train starts the workers again after any failure, as often as it may. That is right for a lost machine and wrong for
a full disk or a damaged file, which would fail again after every start; and workers that stop behind a checkpoint
because their machine goes have not failed at all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from tradewind.errors import RunError, TradewindError
from tradewind.training.recovery import Preempted

_log = logging.getLogger(__name__)


class RemedyPolicy(DefaultFailurePolicy):
    """Ray Train's own policy, but for errors of ours: some need no counting, and some no other try."""

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        decision = self._of_ours(training_failed_error) or super().make_decision(training_failed_error)
        _log.log(*_told(training_failed_error, again=decision is FailureDecision.RETRY))
        return decision

    def _of_ours(self, error: TrainingFailedError) -> FailureDecision | None:
        if not isinstance(error, WorkerGroupError):
            return None
        known = [cause_of(failure) for failure in error.worker_failures.values()]
        if any(isinstance(cause, TradewindError) and cause.remedy != "retry" for cause in known):
            return FailureDecision.RAISE
        return FailureDecision.RETRY if any(isinstance(cause, Preempted) for cause in known) else None


def _told(error: TrainingFailedError, *, again: bool) -> tuple[int, str, str, str]:
    """Level, format and values of what the log says."""
    causes = {rank: cause_of(failure) for rank, failure in getattr(error, "worker_failures", {}).items()}
    first = _first_to_fail(causes)
    text = str(error) if first is None else f"rank {first}: {_last_line(causes[first])}"
    level = logging.INFO if first is not None and isinstance(causes[first], Preempted) else logging.WARNING
    return level, "%s; %s", text, "the workers start again" if again else "the run ends"


def cause_of(error: BaseException) -> BaseException:
    """The error that the worker's own code raised, out of Ray's wrappers."""
    return (
        getattr(error, "_base_exc", None)
        or getattr(error, "health_check_failure", None)
        or getattr(error, "cause", None)
        or error
    )


def run_error(run: str, exc: Exception) -> RunError:
    """The one error that a person should read, from whatever Ray Train raised.

    Of several ranks' errors that of our own kind counts first, then that of a rank which did not just lose its partner.
    """
    if not isinstance(exc, WorkerGroupError):
        return _of_driver(run, exc)
    causes = {rank: cause_of(error) for rank, error in exc.worker_failures.items()}
    failures = {rank: _last_line(cause) for rank, cause in causes.items()}
    first = _first_to_fail(causes)
    if first is None:
        return RunError(f"run {run} failed: {exc}")
    known = causes[first] if isinstance(causes[first], TradewindError) else None
    text = known.message if isinstance(known, TradewindError) else failures[first]
    hint = known.hint if isinstance(known, TradewindError) else None
    return RunError(f"run {run} failed: {text} (rank {first})", hint=hint, failures=failures)


def _of_driver(run: str, exc: Exception) -> RunError:
    """Of what failed outside of the workers."""
    cause = cause_of(getattr(exc, "controller_failure", exc))
    if isinstance(cause, TradewindError):
        return RunError(f"run {run} failed: {cause.message}", hint=cause.hint)
    return RunError(f"run {run} failed: {_last_line(cause)}")


def _first_to_fail(causes: Mapping[int, BaseException]) -> int | None:
    return min(causes, key=lambda rank: (_place(causes[rank]), rank), default=None)


def _place(cause: BaseException) -> int:
    if isinstance(cause, TradewindError):
        return 0
    return 2 if PARTNER_LOST.search(str(cause)) else 1


PARTNER_LOST = re.compile(
    r"Connection (reset|closed|refused)|Broken pipe|Socket closed|gloo/transport|NCCL communicator was aborted|"
    r"remote process exited|unhandled system error",
    re.IGNORECASE,
)
"""What torch's backends say on the ranks whose partner has gone; the reason stands on the other rank."""


def _last_line(cause: BaseException) -> str:
    if isinstance(cause, TradewindError):
        return f"{type(cause).__name__}: {cause.message}"
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__
