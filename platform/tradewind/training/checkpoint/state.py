"""What of a run is tensors: weights, what the optimizers remember, and the random numbers to come.

Names are those of torch's flattened state: `model.<weight>`, `optimizer.state.<weight>.<what>`. They do not depend on
the mesh, on pipeline stages, on wrappers of compilation, nor on which of several optimizers owns a weight, so a run
goes on with any of them changed. Nothing is run to make an optimizer's tensors: they are made as the checkpoint has
them, in the sharding of their weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import STORAGE_TYPES, TensorStorageMetadata
from torch.optim import Optimizer

WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")
"""What `torch.compile` and activation checkpointing put into the names of weights."""
WEIGHTS, MOMENTS, RANDOM = "model", "optimizer", "random"


class TrainingState:
    """The tensors of models (one, or the stages of a pipeline that are here) and their optimizers.

    `data_rank` says whose random numbers this rank draws; ranks of one data rank draw the same.
    """

    def __init__(self, models: Sequence[nn.Module], optimizers: Sequence[Optimizer], *, data_rank: int = 0) -> None:
        self._models = models
        self._optimizers = optimizers
        self._data_rank = data_rank

    @property
    def optimizer(self) -> str:
        """Which optimizers these are, in words, for the checkpoint's record."""
        return "+".join(sorted(type(optimizer).__name__ for optimizer in self._optimizers))

    def weights(self) -> dict[str, Any]:
        """The weights alone, to be saved or filled: each once, also where two names share it.

        FSDP shards what it has gathered when it is asked for the state, so that is asked for.
        """
        found: dict[str, Any] = {}
        for model in self._models:
            once, all_names = (
                {name for name, _ in model.named_parameters(remove_duplicate=one)} for one in (True, False)
            )
            state = model.state_dict()
            found |= {plain(name): value for name, value in state.items() if name in once or name not in all_names}
        return found

    def to_save(self) -> dict[str, Any]:
        """The state as it is now, for `Checkpointer.begin`. It shares the memory of the run."""
        weights = self.weights()
        moments = {
            name: dict(optimizer.state[parameter])
            for name, parameter, optimizer, _ in self._owned()
            if parameter in optimizer.state
        }
        return {WEIGHTS: weights, MOMENTS: {"state": moments}, RANDOM: self._random()}

    def to_fill(self, there: Mapping[str, STORAGE_TYPES]) -> dict[str, Any]:
        """Room for what a checkpoint holds. Call `filled` with it afterwards."""
        state: dict[str, Any] = {WEIGHTS: self.weights()}
        kept = _moments(there)
        moments = {
            name: {what: _room(one, what, parameter, group) for what, one in kept.get(name, {}).items()}
            for name, parameter, _, group in self._owned()
        }
        if any(moments.values()):
            state[MOMENTS] = {"state": moments}
        random = self._random()
        if all(f"{RANDOM}.{key}" in there for key in random):
            state[RANDOM] = random
        return state

    def filled(self, state: Mapping[str, Any]) -> None:
        """Put into the optimizers, and the random generators, what has been read. The weights are there already.

        They were filled under names that share their memory, which weights do not notice: copies of them are told.
        """
        torch.autograd.graph.increment_version(weight for model in self._models for weight in model.parameters())
        moments = state.get(MOMENTS, {"state": {}})["state"]
        for name, parameter, optimizer, _ in self._owned():
            if moments.get(name):
                optimizer.state[parameter] = moments[name]
        for key, value in state.get(RANDOM, {}).items():
            if key.startswith("cuda"):
                torch.cuda.set_rng_state(value)
            else:
                torch.set_rng_state(value)

    def _owned(self) -> Iterator[tuple[str, nn.Parameter, Optimizer, dict[str, Any]]]:
        """Every weight that is trained, with its optimizer and the settings of its group there."""
        names = {parameter: plain(name) for model in self._models for name, parameter in model.named_parameters()}
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield names[parameter], parameter, optimizer, group

    def _random(self) -> dict[str, Tensor]:
        found = {f"cpu-{self._data_rank}": torch.get_rng_state()}
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            found[f"cuda-{self._data_rank}"] = torch.cuda.get_rng_state()
        return found


def plain(name: str) -> str:
    """The name of a weight without what wrappers add."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _moments(there: Mapping[str, STORAGE_TYPES]) -> dict[str, dict[str, Any]]:
    """What a checkpoint holds of optimizers, by weight."""
    prefix, found = f"{MOMENTS}.state.", dict[str, dict[str, Any]]()
    for key, kept in there.items():
        if key.startswith(prefix):
            name, _, what = key.removeprefix(prefix).rpartition(".")
            found.setdefault(name, {})[what] = kept
    return found


def _room(kept: Any, what: str, parameter: nn.Parameter, group: Mapping[str, Any]) -> Any:
    """An empty tensor in the place that the optimizer would choose; for what is no tensor, nothing yet."""
    if not isinstance(kept, TensorStorageMetadata):
        return None
    if kept.size and tuple(kept.size) == tuple(parameter.shape):
        return torch.zeros_like(parameter, dtype=kept.properties.dtype, requires_grad=False)
    is_counter = what == "step" and not (group.get("fused") or group.get("capturable"))
    return torch.zeros(kept.size, dtype=kept.properties.dtype, device="cpu" if is_counter else parameter.device)
