"""What the figures of a plan rest on beside prices and measurements, in words."""

from __future__ import annotations

from collections.abc import Iterable

from tradewind.planner.choice.movement import KEPT, STATE_BYTES, WEIGHT_BYTES, Movement
from tradewind.planner.choice.options import Option
from tradewind.planner.choice.question import START_S, Question
from tradewind.planner.training_time import StepTime
from tradewind.planner.work import TrainingWork
from tradewind.units import format_bytes, format_seconds


def assumptions(question: Question, options: Iterable[Option]) -> tuple[str, ...]:
    """One sentence each. Those of options come last, and count for the options that they name."""
    low, high = question.hazard.interval(0.9)
    lines = [
        f"a machine takes {format_seconds(START_S)} from the order to the first step, and is paid for meanwhile",
        f"a spot machine is lost every {1 / question.hazard.mean_per_hour:.0f} hours on average "
        f"(90 %: {1 / high:.0f} to {1 / low:.0f})",
        "power is reckoned from thermal design power; carbon from "
        + ("hourly figures where there are some, and else " if question.signals else "")
        + "yearly averages of grids",
    ]
    work = question.work
    if isinstance(work, TrainingWork):
        movement = Movement(work, question.home)
        lines.append(f"{format_bytes(work.dataset_bytes)} of data are read once from {work.dataset_place}")
        checkpoints = f"to {question.home}" if movement.is_far else f"in a bucket beside the machines, {KEPT} at a time"
        lines.append(f"checkpoints of {STATE_BYTES} bytes a parameter are kept {checkpoints}")
        lines.append(f"the model goes home at last, with {WEIGHT_BYTES} bytes a parameter")
    else:
        lines.append("answers to clients are few bytes, and cost nothing here")
    unknown = {word for option in options if isinstance(option.time, StepTime) for word in option.time.assumptions}
    return (*lines, *(f"where the catalogue has no figure: {word}" for word in sorted(unknown)))
