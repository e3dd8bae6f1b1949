"""What every record has in common: a fact that the platform wrote down, once.

Unknown keys are ignored, so that an older program can read a newer file. `parents` holds the ids of the records that
this one was made from; following them gives the lineage.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tradewind.errors import IntegrityError


def now() -> datetime:
    return datetime.now(UTC)


class Fact(BaseModel):
    """A part of a record."""

    # "strings": a loss that is no number must read back; pydantic would write null, which no float field takes.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class Record(Fact):
    kind: ClassVar[str]

    schema_version: int = 1
    created_at: datetime = Field(default_factory=now)
    parents: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`kind:name@version`, the word that `parents` of other records use for this one."""
        raise NotImplementedError

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> Self:
        """Read a record. Raises IntegrityError when the bytes at `where` are not one."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as exc:
            problem = exc.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, problem["loc"]))
            raise IntegrityError(
                f"{where} is not a whole {cls.kind} record: {place + ': ' if place else ''}{problem['msg']}",
                hint="it was cut short or changed by hand; restore it from a copy, or delete it",
            ) from exc


class StoredFile(Fact):
    """An immutable object: where it is, how long, and what it must hash to."""

    key: str
    sha256: str
    num_bytes: int
