"""How rotary positions are stretched beyond the context of pretraining, and how `config.json` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from tradewind.errors import SpecError, did_you_mean

SCALINGS = ("linear", "llama3", "yarn")


@dataclass(frozen=True)
class RopeScaling:
    """Linear (Chen et al. 2023), by wavelength (Llama 3.1), or YaRN (Peng et al. 2023, section 3). Names as there."""

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    original_context: int | None = None
    """Tokens that the model was pretrained with; llama3 and yarn need it."""
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    """With latent attention, also the temperature of the softmax, as in DeepSeek-V2."""
    attention_factor: float | None = None
    """What yarn multiplies both tables by; default worked out from the factor and the two before."""
    truncate: bool = True
    """Whether yarn rounds the range of its ramp to whole dimensions."""


OF_KIND = {
    "linear": (),
    "llama3": ("low_freq_factor", "high_freq_factor"),
    "yarn": ("beta_fast", "beta_slow", "mscale", "mscale_all_dim", "attention_factor", "truncate"),
}
"""Fields that a kind has beside its factor and its context."""


def rope_theta(config: Mapping[str, Any]) -> float:
    return float((config.get("rope_parameters") or config).get("rope_theta") or config.get("rope_theta") or 10000.0)


def rope_scaling(config: Mapping[str, Any]) -> RopeScaling | None:
    """What `rope_parameters`, or `rope_scaling` of before transformers 5, state. Raises SpecError for other kinds."""
    stated = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = stated.get("rope_type") or stated.get("type") or "default"
    if kind == "default":
        return None
    if kind not in SCALINGS:
        raise SpecError(f"config.json: rope_type is {kind!r}, not known here{did_you_mean(kind, SCALINGS)}")
    given = {name: stated[name] for name in OF_KIND[kind] if stated.get(name) is not None}
    original = stated.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    if kind != "linear":
        given["original_context"] = original or config.get("max_position_embeddings")
    if not isinstance(stated.get("factor"), int | float):
        raise SpecError(f"config.json: the factor of {kind} positions is {stated.get('factor')!r}, not a number")
    return RopeScaling(cast(Any, kind), float(stated["factor"]), **given)


def rope_config(theta: float, scaling: RopeScaling | None) -> dict[str, Any]:
    """The settings of `config.json`, by the names of transformers 5 and of those before it."""
    if scaling is None:
        return {"rope_theta": theta, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    values = {name: getattr(scaling, name) for name in OF_KIND[scaling.kind]}
    stated: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    stated |= {name: value for name, value in values.items() if value is not None}
    if scaling.original_context:
        stated["original_max_position_embeddings"] = scaling.original_context
    return {
        "rope_theta": theta,
        "rope_parameters": {**stated, "rope_theta": theta},
        "rope_scaling": {**stated, "type": scaling.kind},
    }
