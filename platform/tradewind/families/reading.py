"""Shapes from specs and from the `config.json` of Hugging Face, as far as families agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.errors import SpecError
from tradewind.families.family import Experts, ModelShape
from tradewind.families.rope import rope_config, rope_scaling, rope_theta
from tradewind.specs import ModelSpec

BLOCKS = ("latent", "experts")


def shape_of_spec(family: str, spec: ModelSpec, *, vocabulary: int, context: int, **changes: Any) -> ModelShape:
    """The sizes of a spec, defaults worked out; `changes` are what the family adds or has otherwise."""
    sizes = {
        "kv_heads": spec.kv_heads or spec.heads,
        "head_dim": spec.head_dim or spec.hidden // spec.heads,
        "ffn": spec.ffn or -(-spec.hidden * 8 // 3 // 32) * 32,
        **changes,
    }
    return ModelShape(
        family=family,
        vocabulary=vocabulary,
        hidden=spec.hidden,
        layers=spec.layers,
        heads=spec.heads,
        context=context,
        tied=spec.tied,
        **sizes,
    )


def experts_of_spec(spec: ModelSpec, **changes: Any) -> Experts | None:
    return Experts(**spec.experts.model_dump(), **changes) if spec.experts else None


def refuse_blocks(family: str, spec: ModelSpec, *known: str) -> None:
    """Raises SpecError for a block that the family does not have."""
    for block in BLOCKS:
        if block not in known and getattr(spec, block):
            raise SpecError(f"model.{block} is given, and family {family!r} has none", hint="family: deepseek has both")


def shape_of_config(family: str, config: Mapping[str, Any], **changes: Any) -> ModelShape:
    """The sizes in a `config.json` that all families call by the same names. Raises SpecError for missing ones."""
    need(config, "attention_bias", False)
    need(config, "mlp_bias", False)
    need(config, "hidden_act", "silu")
    heads = size(config, "num_attention_heads")
    sizes = {
        "kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or size(config, "hidden_size") // heads,
        **changes,
    }
    return ModelShape(
        family=family,
        vocabulary=size(config, "vocab_size"),
        hidden=size(config, "hidden_size"),
        layers=size(config, "num_hidden_layers"),
        heads=heads,
        ffn=size(config, "intermediate_size"),
        context=size(config, "max_position_embeddings"),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope_theta=rope_theta(config),
        rope_scaling=rope_scaling(config),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        **sizes,
    )


def config_of_shape(shape: ModelShape, *, architecture: str, model_type: str, **changes: Any) -> dict[str, Any]:
    """The content of `config.json` that all families write by the same names."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_eps,
        **rope_config(shape.rope_theta, shape.rope_scaling),
        "attention_bias": False,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "float32",
        "dtype": "float32",
        **changes,
    }


def size(config: Mapping[str, Any], name: str) -> int:
    """A whole number that must be there. Raises SpecError."""
    found = config.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise SpecError(f"config.json: {name} is {found!r}, not a size", hint="take the config.json of the model whole")
    return found


def need(config: Mapping[str, Any], name: str, value: object) -> None:
    """Raises SpecError where a setting that sizes depend on is other than families here know."""
    found = config.get(name, value)
    if found != value:
        raise SpecError(f"config.json: {name} is {found!r}; only {value!r} is known here")


def model_type(config: Mapping[str, Any], *known: str) -> str:
    """The model type, one of `known`. Raises SpecError."""
    found = config.get("model_type")
    if found not in known:
        raise SpecError(f"config.json: model_type is {found!r}, not {' or '.join(map(repr, known))}")
    return str(found)
