"""Public models by name, from the `config.json` that each comes with; `known_models.json` says where it was read."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tradewind.errors import NotFoundError, did_you_mean


@dataclass(frozen=True)
class KnownModel:
    config: Mapping[str, Any]
    """What sizes depend on, as `config.json` states it."""
    source: str


def published(name: str) -> KnownModel:
    """What is published under that name. Raises NotFoundError with the nearest name."""
    models = known_models()
    if name not in models:
        raise NotFoundError(f"no known model named {name!r}{did_you_mean(name, models)}")
    return models[name]


@functools.cache
def known_models() -> Mapping[str, KnownModel]:
    """All models that are known by name."""
    text = resources.files("tradewind.families").joinpath("known_models.json").read_text()
    return {name: KnownModel(**entry) for name, entry in json.loads(text).items()}
