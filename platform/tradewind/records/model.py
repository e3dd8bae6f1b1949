"""The records of the registry: a model's versions, and what each alias points at."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import field_validator

from tradewind.records.base import Record, StoredFile


class ModelVersion(Record):
    kind: ClassVar[str] = "model"

    name: str
    version: int
    writer: str
    family: str
    parameters: int
    context: int
    heldout_loss: float | None
    files: dict[str, StoredFile]
    card: dict[str, Any]

    @field_validator("files")
    @classmethod
    def _files_stay_in_their_folder(cls, files: dict[str, StoredFile]) -> dict[str, StoredFile]:
        """A record that was tampered with must not make `export` write elsewhere."""
        for name in files:
            if not name or name in (".", "..") or "/" in name or "\0" in name:
                raise ValueError(f"{name!r} is not a file name")
        return files

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}@{self.version}"

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files.values())


class AliasMove(Record):
    """From this moment `name@alias` means `name@version`. The newest move counts; the older ones are its history."""

    kind: ClassVar[str] = "alias"

    name: str
    alias: str
    version: int
    move: int
    writer: str

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}@{self.alias}/{self.move}"
