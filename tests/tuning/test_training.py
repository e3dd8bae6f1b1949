"""Sweeps whose trials really train, alone in a slot or as a group of workers."""

from __future__ import annotations

import psutil
import pytest

from tests.tuning.conftest import Yard
from tests.tuning.test_sweep import until
from tradewind.records import TrialPreempted
from tradewind.training import Run, prove
from tradewind.tuning import TRAIN

pytestmark = pytest.mark.slow
TRAINING = {
    "name": "boat",
    "dataset": "logbook",
    "model": {"hidden": 32, "layers": 1, "heads": 2},
    "batch": {"sequences": 4, "tokens_per_sequence": 32},
    "optimizer": {"warmup_steps": 2},
    "checkpoint_every_s": 0.2,
    "max_steps": 60,
}


def test_a_trial_in_a_slot_is_a_whole_run(yard: Yard) -> None:
    sweep = yard.start(name="alone", work=TRAIN, train={**TRAINING, "workers": 1}, trials=2, parallel=1).wait()
    standing = sweep.standing()
    assert [one.status for one in standing.trials] == ["finished"] * 2
    for trial in standing.trials:
        run = Run(yard.workspace.store, trial.run)
        assert run.status == "finished"
        assert run.end
        assert run.end.steps == 60
        assert trial.final == pytest.approx(run.best.heldout_loss)
        assert prove(run).samples == 60 * 4
    assert standing.trials[0].final != standing.trials[1].final


def test_a_trial_goes_on_in_another_worker_with_the_data_that_it_had_not_seen(yard: Yard) -> None:
    train = {**TRAINING, "workers": 1, "max_steps": 400}
    sweep = yard.start(name="killed", work=TRAIN, train=train, trials=1, parallel=1)
    until(lambda: sweep.standing().trials and sweep.standing().trials[0].points)
    trial = sweep.standing().trials[0]
    run = Run(yard.workspace.store, trial.run)
    until(lambda: run.checkpoints)
    (nursery,) = [
        one for one in psutil.Process().children() if "tradewind.tuning.nursery" in one.cmdline() and one.children()
    ]
    (worker,) = nursery.children()
    worker.kill()
    sweep.wait()
    told = [one for one in sweep.events() if isinstance(one, TrialPreempted)]
    assert len(told) == 1
    assert told[0].step > 0
    assert Run(yard.workspace.store, trial.run).status == "finished"
    assert prove(run).samples == 400 * 4


def test_trials_of_two_workers_are_driven_by_ray_train(yard: Yard) -> None:
    train = {**TRAINING, "workers": 2, "max_steps": 12}
    sweep = yard.start(name="pair", work=TRAIN, train=train, trials=2, parallel=1).wait()
    standing = sweep.standing()
    assert [one.status for one in standing.trials] == ["finished"] * 2
    run = Run(yard.workspace.store, standing.trials[0].run)
    assert run.checkpoints[-1].world == 2
    assert run.status == "finished"


def test_an_heir_begins_with_the_checkpoint_of_one_of_the_best(yard: Yard) -> None:
    scheduler = {"kind": "pbt", "every_steps": 20, "quantile": 0.5}
    train = {**TRAINING, "workers": 1, "max_steps": 80, "checkpoint_every_s": 0.1}
    sweep = yard.start(
        name="heirs", work=TRAIN, train=train, trials=3, parallel=2, scheduler=scheduler, searcher="random"
    ).wait()
    heirs = [one for one in sweep.standing().trials if one.parent is not None]
    assert heirs
    first = Run(yard.workspace.store, heirs[0].run).metrics()[0]
    assert first.step > 1
    assert {one.status for one in sweep.standing().trials} <= {"finished", "pruned"}
