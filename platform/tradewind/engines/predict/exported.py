"""A model that `torch.export` wrote to a file: one tensor in, one out, the first dimension of both is the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tradewind.errors import IntegrityError, SpecError


class ExportedModel:
    """On the first GPU where there is one.

    Raises IntegrityError for a file that is damaged, SpecError for a model that takes no batches.
    """

    def __init__(self, file: Path) -> None:
        try:
            program = torch.export.load(file)
        except Exception as exc:  # zip, pickle, JSON and torch itself each raise their own
            raise IntegrityError(f"torch cannot load {file.name}: {exc}", hint="export and register it again") from exc
        example = _only_tensor(program.example_inputs)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        if self._device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self._device)
        self._module = program.module()
        self._dtype = example.dtype
        self.shape = tuple(example.shape[1:])
        """Of one input."""
        self.example = example[0].clone()
        self._check_batches()

    def read(self, value: Any) -> torch.Tensor:
        """Nested lists of numbers of the model's shape, or an image as height, width and channels of bytes."""
        if isinstance(value, np.ndarray):
            read = torch.from_numpy(value).permute(2, 0, 1)
            read = read.to(self._dtype) / 255 if self._dtype.is_floating_point else read.to(self._dtype)
        else:
            try:
                read = torch.tensor(value, dtype=self._dtype)
            except (TypeError, ValueError, RuntimeError, OverflowError) as exc:
                raise ValueError(f"no tensor of {self._dtype}: {exc}") from exc
        if tuple(read.shape) != self.shape:
            raise ValueError(f"its shape is {list(read.shape)}, and the model takes {list(self.shape)}")
        return read

    @torch.inference_mode()
    def predict(self, batch: list[torch.Tensor]) -> list[Any]:
        found: list[Any] = self._module(torch.stack(batch).to(self._device)).tolist()
        return found

    def _check_batches(self) -> None:
        for size in (1, 2):
            try:
                answered = len(self.predict([self.example] * size))
            except Exception as exc:  # a guard of the export, or whatever the graph raises
                hint = "export it with dynamic_shapes=({0: torch.export.Dim('batch')},)"
                raise SpecError(f"the exported model takes no batch of {size}: {exc}", hint=hint) from exc
            if answered != size:
                raise SpecError(f"the exported model gives {answered} outputs for {size} inputs")


def _only_tensor(examples: Any) -> torch.Tensor:
    empty: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    inputs, named = examples or empty
    if len(inputs) != 1 or named or not isinstance(inputs[0], torch.Tensor) or not inputs[0].dim():
        hint = "export a module whose forward takes one tensor, its first dimension the batch"
        raise SpecError("the exported model does not take exactly one tensor", hint=hint)
    return inputs[0]
