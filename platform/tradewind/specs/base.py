"""What every spec has in common: frozen, refusing unknown keys, loaded from YAML with file and line in its errors."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from tradewind.errors import SpecError
from tradewind.specs.document import Document

_CONFIG = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Block(BaseModel):
    """A part of a spec."""

    model_config = _CONFIG

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kind, *typing.get_args(kind)}:
            raise ValueError("a number is needed")
        return value

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """The block in a document that has been read already, whatever its `kind` says. Raises SpecError."""
        values = {key: value for key, value in document.values.items() if key != "kind"}
        try:
            return cls.model_validate(values)
        except ValidationError as exc:
            raise SpecError("\n".join(_complaints(cls, exc, document))) from exc


class Spec(Block):
    """A wish written by a person. `kind` is the word that its YAML file starts with."""

    kind: ClassVar[str]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The spec in a YAML file. Raises SpecError that names file, line and the nearest right key."""
        document = Document.read(path)
        kind = document.values.get("kind")
        if kind is None:
            raise SpecError(f"{document.name}: kind is missing", hint=f"start with a line `kind: {cls.kind}`")
        if kind != cls.kind:
            raise SpecError(f"{document.place(('kind',))}: this is a {kind!r} spec, not a {cls.kind!r} spec")
        return cls.from_document(document)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The spec from keyword arguments; mistakes raise SpecError, as for a file."""
        return cls.from_document(Document.of(values, name=cls.__name__))

    def with_values(self, **changes: Any) -> Self:
        """A changed copy, validated. Nested blocks are given whole or as `block__key=value`."""
        values = self.model_dump()
        for key, value in changes.items():
            *blocks, last = key.split("__")
            target = values
            for block in blocks:
                target = target.setdefault(block, {})
                if not isinstance(target, dict):
                    raise SpecError(f"{type(self).__name__}: {block} has no part {last!r}")
            target[last] = value
        return self.of(**values)

    def to_yaml(self) -> str:
        """The whole spec, defaults included, as YAML that `load` reads back."""
        values = {"kind": self.kind, **self.model_dump(mode="json")}
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _complaints(model: type[BaseModel], exc: ValidationError, document: Document) -> Iterator[str]:
    for error in exc.errors(include_url=False):
        where = tuple(error["loc"])
        yield f"{document.place(where)}: {_complaint(model, where, error)}"


def _complaint(model: type[BaseModel], where: tuple[int | str, ...], error: Any) -> str:
    name = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        return _unknown_key(model, where)
    if error["type"] == "missing":
        return f"{name} is missing"
    text = error["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    given = "" if repr(error["input"]) in text or isinstance(error["input"], dict) else f", not {error['input']!r}"
    return f"{name}: {text[0].lower()}{text[1:]}{given}" if name else text


def _unknown_key(model: type[BaseModel], where: tuple[int | str, ...]) -> str:
    *parents, wrong = (str(part) for part in where)
    keys = [field.alias or name for name, field in _block(model, parents).model_fields.items()]
    near = difflib.get_close_matches(wrong, keys, n=1)
    inside = f" in {'.'.join(parents)}" if parents else ""
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(keys)}"
    return f"unknown key {wrong!r}{inside} ({hint})"


def _block(model: type[BaseModel], names: list[str]) -> type[BaseModel]:
    for name in names:
        found = _model_in(model.model_fields[name].annotation) if name in model.model_fields else None
        model = found or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, tuple, dict):
        return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
    return None
