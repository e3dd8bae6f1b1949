"""The files of a rank as they will be written, in the memory of this machine: what a checkpoint copies while it stops.

Tensors are copied straight into their places in the files, so a piece is moved once before the store takes it. The
memory is kept from one checkpoint to the next, and pinned where the weights are on a chip, so that copies run at the
speed of the bus. It is as large as this rank's part of the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tradewind.errors import CapacityError
from tradewind.training.checkpoint.piece import Frame, Frames, saved
from tradewind.training.checkpoint.plan import Piece, Plan, PlannedFile, pickled, value_of
from tradewind.units import format_bytes


class Image:
    """Made for one plan. `take` fills it, `seal` gives the bytes of a file."""

    def __init__(self, plan: Plan, flat: Mapping[str, Any], frames: Frames) -> None:
        self._plan = plan
        values = [value_of(piece.item, flat) for file in plan.files for piece in file.pieces]
        self._is_pinned = any(isinstance(value, Tensor) and value.is_cuda for value in values)
        self._rooms = [self._room(file.num_bytes) for file in plan.files]
        self._bytes: list[memoryview] = [room.numpy().data for room in self._rooms]
        self._frames = [[_frame(piece, flat, frames) for piece in file.pieces] for file in plan.files]
        for file, data, around in zip(plan.files, self._bytes, self._frames, strict=True):
            for piece, frame in zip(file.pieces, around, strict=True):
                if frame:
                    frame.put_around(data[piece.offset : piece.offset + piece.num_bytes])

    def take(self, flat: Mapping[str, Any]) -> None:
        """Copy the state as it is now. Returns when it is here."""
        for number, file in enumerate(self._plan.files):
            for piece, frame in zip(file.pieces, self._frames[number], strict=True):
                value = value_of(piece.item, flat)
                if frame:
                    self._numbers(number, piece, frame, value).copy_(value, non_blocking=True)
                else:
                    data = saved(value) if isinstance(value, Tensor) else pickled(value)
                    self._bytes[number][piece.offset : piece.offset + piece.num_bytes] = data
        if self._is_pinned:
            torch.cuda.current_stream().synchronize()

    def seal(self, file: PlannedFile) -> memoryview:
        """The bytes of a file, its checksums set."""
        number = self._plan.files.index(file)
        data = self._bytes[number]
        for piece, frame in zip(file.pieces, self._frames[number], strict=True):
            if frame:
                frame.seal(data[piece.offset : piece.offset + piece.num_bytes])
        return data

    def close(self) -> None:
        """Give the memory back."""
        for room in self._rooms:
            if self._is_pinned:
                torch.cuda.cudart().cudaHostUnregister(room.data_ptr())  # type: ignore[no-untyped-call]
        self._rooms, self._bytes = [], []

    def _numbers(self, number: int, piece: Piece, frame: Frame, like: Tensor) -> Tensor:
        start = piece.offset + len(frame.before)
        room = self._rooms[number][start : start + frame.num_bytes]
        return room.view(like.dtype).view(like.shape)

    def _room(self, num_bytes: int) -> Tensor:
        try:
            room = torch.zeros(num_bytes, dtype=torch.uint8)
        except RuntimeError as exc:
            raise CapacityError(
                f"no memory for the copy of {format_bytes(self._plan.num_bytes)} that a checkpoint is written from",
                hint="use more ranks, or machines with more memory: each rank keeps a copy of its part of the state",
            ) from exc
        if self._is_pinned and num_bytes:
            # torch's own pinned memory comes in powers of two, up to twice of what is needed
            torch.cuda.cudart().cudaHostRegister(room.data_ptr(), num_bytes, 1)  # type: ignore[no-untyped-call]
        return room


def _frame(piece: Piece, flat: Mapping[str, Any], frames: Frames) -> Frame | None:
    value = value_of(piece.item, flat)
    return frames.frame_of(value) if isinstance(value, Tensor) else None
