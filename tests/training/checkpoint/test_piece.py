from __future__ import annotations

import io
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import IntegrityError
from tradewind.training.checkpoint.piece import Frames, check_piece, saved, tensor_in

TYPES = [
    torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.int64, torch.uint8,
    torch.bool, torch.complex64,
]  # fmt: skip
shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)


def filled(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel()).remainder(2).reshape(shape).to(dtype)


def file_of(tensor: torch.Tensor, frames: Frames) -> bytearray:
    room = bytearray(frames.size_of(tensor))
    frame = frames.frame_of(tensor)
    if frame is None:
        return bytearray(saved(tensor))
    view = memoryview(room)
    frame.put_around(view)
    view[len(frame.before) : frame.end] = tensor.reshape(-1).view(torch.uint8).numpy().data
    frame.seal(view)
    return room


@given(shapes, st.sampled_from(TYPES))
def test_file_is_what_torch_reads_and_what_zip_verifies(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = filled(shape, dtype)
    data = file_of(tensor, Frames())
    read = torch.load(io.BytesIO(data), weights_only=True)
    assert (read.dtype, read.shape) == (dtype, tensor.shape)
    assert torch.equal(read.to(torch.complex64), tensor.to(torch.complex64))
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    check_piece(memoryview(data), where="here")


@given(shapes, st.sampled_from(TYPES))
def test_tensor_is_found_in_a_file_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = filled(shape, dtype)
    read = tensor_in(memoryview(bytearray(saved(tensor))))
    assert (read.dtype, read.shape) == (dtype, tensor.shape)
    assert torch.equal(read.to(torch.complex64), tensor.to(torch.complex64))


def test_transposed_tensor_of_torch_is_read_as_it_is() -> None:
    tensor = torch.arange(12.0).reshape(3, 4).T
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    assert torch.equal(tensor_in(memoryview(bytearray(buffer.getvalue()))), tensor)


@given(st.integers(0, 10_000))
def test_altered_number_is_found(place: int) -> None:
    tensor = torch.arange(100.0)
    data, frame = file_of(tensor, frames := Frames()), frames.frame_of(tensor)
    assert frame
    data[len(frame.before) + place % frame.num_bytes] ^= 1
    with pytest.raises(IntegrityError, match="here has another checksum"):
        check_piece(memoryview(data), where="here")


@pytest.mark.parametrize("data", [b"", b"PK", bytes(100), b"PK\5\6" + bytes(18)])
def test_what_is_no_file_of_torch_is_said(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="here is not a file of torch"):
        check_piece(memoryview(data), where="here")
