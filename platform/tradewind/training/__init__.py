"""Training runs on Ray Train, and the records that tell how they went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradewind.lazy import exports

if TYPE_CHECKING:
    from tradewind.training.export import hugging_face_files, model_card
    from tradewind.training.proof import prove
    from tradewind.training.run import Run, find, names
    from tradewind.training.trainer import check_resume, prepare, resume, start

__all__ = [
    "Run",
    "check_resume",
    "find",
    "hugging_face_files",
    "model_card",
    "names",
    "prepare",
    "prove",
    "resume",
    "start",
]

__getattr__ = exports(
    __name__,
    {
        "Run": ".run",
        "check_resume": ".trainer",
        "find": ".run",
        "hugging_face_files": ".export",
        "model_card": ".export",
        "names": ".run",
        "prepare": ".trainer",
        "prove": ".proof",
        "resume": ".trainer",
        "start": ".trainer",
    },
)
