"""Which failures of workers are worth another try: what Ray Train decides, read from our errors' `remedy`.

Ray Train starts the workers again after any failure, as often as it may. That is right for a lost machine and wrong for
a full disk or a damaged file, which would fail again after every start. Ray 2.60 has no public place for such a policy;
this is the one file that knows where Ray's own stands.
"""

from __future__ import annotations

from typing import Any, cast

from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2.api.config import FailureConfig
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from tradewind.errors import TradewindError


class RemedyPolicy(DefaultFailurePolicy):
    """Ray Train's own policy, but for errors of ours that another try on the same machines cannot mend."""

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        if isinstance(training_failed_error, WorkerGroupError):
            known = [cause_of(error) for error in training_failed_error.worker_failures.values()]
            if any(isinstance(error, TradewindError) and error.remedy != "retry" for error in known):
                return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


class Trainer(TorchTrainer):
    """Ray Train's trainer with our policy."""

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        policy = RemedyPolicy(cast("FailureConfig", self.run_config.failure_config))
        return super()._initialize_and_run_controller(**{**arguments, "failure_policy": policy})


def cause_of(error: BaseException) -> BaseException:
    """The error that the worker's own code raised, out of Ray's wrappers."""
    return getattr(error, "_base_exc", None) or getattr(error, "cause", None) or error
