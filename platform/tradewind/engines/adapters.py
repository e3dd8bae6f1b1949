"""LoRA adapters beside a model that many requests share: each row of a batch has its own, or none.

The weights of the model stay as they are. A linear layer that an adapter changes gets a hook which adds
`scale * x A^T B^T` to the rows that asked for it (Hu et al. 2021, section 4.1; rows of several adapters in one batch
after S-LoRA, Sheng et al. 2023, section 5). Files are those of peft.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tradewind.engines.int8 import Int8Linear
from tradewind.errors import IntegrityError, SpecError

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


class Adapters:
    """The adapters of one model."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._rows: dict[str, torch.Tensor] = {}
        """Rows of the batch that is in work, by the adapter that they ask for."""
        self._layers: dict[str, _AdaptedLayer] = {}

    def add(self, name: str, folder: Path) -> None:
        """Read an adapter. Raises IntegrityError for damaged files and those of another model, SpecError for kinds of
        adapter that this engine does not have.
        """
        config = _config(folder)
        scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
        weights = _weights(folder)
        for key in sorted(weights):
            if not key.endswith((_DOWN, _UP)):
                raise SpecError(f"adapter {name!r} changes {key}", hint="export it with LoRA on linear layers only")
            if key.endswith(_DOWN):
                module = key.removesuffix(_DOWN)
                self._add_to(module.removeprefix(_PREFIX), name, weights[key], weights.get(module + _UP), scale)

    @contextmanager
    def of_rows(self, names: Sequence[str | None]) -> Iterator[None]:
        """Within it the rows of a batch are answered by these adapters."""
        device = next(self._model.parameters()).device
        self._rows = {
            name: torch.tensor([row for row, one in enumerate(names) if one == name], device=device)
            for name in set(names)
            if name
        }
        try:
            yield
        finally:
            self._rows = {}

    def _add_to(self, module: str, name: str, down: torch.Tensor, up: torch.Tensor | None, scale: float) -> None:
        try:
            layer = self._model.get_submodule(module)
        except AttributeError:
            layer = None
        if not isinstance(layer, nn.Linear | Int8Linear):
            raise IntegrityError(f"adapter {name!r} is for {module}, which the model lacks", hint="name its own model")
        if up is None or down.shape[1] != layer.in_features or up.shape != (layer.out_features, down.shape[0]):
            raise IntegrityError(
                f"adapter {name!r} does not fit {module} of {layer.in_features} → {layer.out_features}",
                hint="was it trained for a model of another size?",
            )
        if module not in self._layers:
            self._layers[module] = _AdaptedLayer(self)
            layer.register_forward_hook(self._layers[module])
        like = next(self._model.parameters())  # of 8-bit layers there are none
        self._layers[module].parts[name] = (down.to(like), (scale * up).to(like))

    def rows(self) -> dict[str, torch.Tensor]:
        return self._rows


class _AdaptedLayer:
    """The hook of a linear layer: `parts` are the two matrices of each adapter."""

    def __init__(self, owner: Adapters) -> None:
        self._owner = owner
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, _: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        for name, rows in self._owner.rows().items():
            if name in self.parts:
                down, up = self.parts[name]
                output[rows] += (args[0][rows] @ down.T) @ up.T
        return output


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        is_lora = config["peft_type"] == "LORA" and config["r"] > 0 and config["lora_alpha"] > 0
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"adapter_config.json cannot be read: {exc}", hint="export the adapter again") from exc
    if not is_lora or config.get("use_dora") or config.get("modules_to_save"):
        raise SpecError("the adapter is not plain LoRA", hint="merge it into its model and serve that")
    return config


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    try:
        weights: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as exc:
        raise IntegrityError(f"{WEIGHTS} cannot be read: {exc}", hint="export the adapter again") from exc
    return weights
