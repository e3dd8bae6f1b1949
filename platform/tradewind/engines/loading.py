"""A model and its tokenizer, read from a folder of Hugging Face files onto a device, or refused with what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from tradewind.engines.engine import Precision
from tradewind.engines.formats import format_for, this_chip
from tradewind.errors import CapacityError, IntegrityError, SpecError


def import_class(folder: Path) -> None:
    """Import the code of a folder's model, as `load_model` would: most of transformers comes with it."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as exc:
        raise damaged(str(exc)) from exc
    MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)


def load_tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as exc:
        raise damaged(str(exc)) from exc


def load_model(folder: Path, dtype: torch.dtype) -> Any:
    """The model on the processor. Raises IntegrityError for weights that are missing, damaged or of other shapes."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise damaged(str(exc)) from exc
    model, loading = loaded
    if loading["missing_keys"]:  # transformers makes them up, and only warns
        raise damaged(f"its weights lack {', '.join(sorted(loading['missing_keys'])[:3])}")
    return model.eval()


def to_device(model: Any) -> Any:
    """On the first GPU where there is one. Raises CapacityError, by how much it does not fit."""
    if not torch.cuda.is_available():
        return model
    needed = sum(one.numel() * one.element_size() for one in model.parameters())
    free, _ = torch.cuda.mem_get_info()
    if needed > free:
        raise CapacityError(
            f"the weights need {needed / 1e9:.1f} GB, and the GPU has {free / 1e9:.1f} GB free",
            hint="serve it with the vllm engine on more GPUs (parallel.tensor), or on a larger one",
        )
    return model.to("cuda")


def dtype_of(precision: Precision) -> torch.dtype:
    """In which weights are loaded on this machine's chip, by the table of `formats`; those of int8 are made of 32 bits.

    Raises SpecError for int8 on a GPU.
    """
    chip = this_chip()
    made = format_for(chip, precision)
    if made.weights == "int8":
        if not chip.startswith("cpu"):
            raise SpecError(
                "the transformers engine makes int8 weights for processors alone",
                hint="give auto, or float8 with the vllm engine",
            )
        return torch.float32
    kind: torch.dtype = getattr(torch, made.weights)
    return kind


def free_bytes() -> int:
    """Memory that is free where the model is."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def damaged(text: str) -> IntegrityError:
    return IntegrityError(f"transformers cannot load the model: {text}", hint="export and check its files")
