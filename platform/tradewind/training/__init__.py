"""Training runs on Ray Train, and the records that tell how they went."""

from tradewind.training.export import hugging_face_files, model_card
from tradewind.training.proof import prove
from tradewind.training.run import Run, find, names
from tradewind.training.trainer import prepare, resume, start

__all__ = ["Run", "find", "hugging_face_files", "model_card", "names", "prepare", "prove", "resume", "start"]
