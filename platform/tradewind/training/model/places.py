"""Where a parameter stands in Hugging Face's files: under its own name, or as the matrices of single experts."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

STACKED = re.compile(r"(.*\.experts)\.(gate_up_proj|down_proj)")
TIED = {"lm_head.weight": "model.embed_tokens.weight"}
"""Where a tied head, left out of the files, is to be found."""


@dataclass(frozen=True)
class Place:
    """A tensor of a file, and the part of the parameter that it is: where it begins and its size there."""

    name: str
    offset: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor in the file, which is a matrix where the parameter is a stack of them."""
        return self.size[1:] if len(self.size) == 3 and self.size[0] == 1 else self.size


def places(name: str, shape: tuple[int, ...]) -> list[Place]:
    """In the order in which they are written: by expert, the gate before what it gates."""
    stacked = STACKED.fullmatch(name)
    if not stacked:
        return [Place(name, (0,) * len(shape), shape)]
    block, which = stacked.groups()
    experts, rows, columns = shape
    parts = ("gate_proj", "up_proj") if which == "gate_up_proj" else ("down_proj",)
    height = rows // len(parts)
    return [
        Place(f"{block}.{expert}.{part}.weight", (expert, number * height, 0), (1, height, columns))
        for expert in range(experts)
        for number, part in enumerate(parts)
    ]


def places_among(name: str, shape: tuple[int, ...], files: Collection[str]) -> list[Place]:
    """The same for files that are there, which may also hold stacks whole or leave out a tied head."""
    if name in TIED and name not in files:
        name = TIED[name]
    return [Place(name, (0,) * len(shape), shape)] if name in files else places(name, shape)
