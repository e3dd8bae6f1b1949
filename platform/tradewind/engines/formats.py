"""In which number format a chip serves a model, and why; and whether the model fits.

`auto` never changes weights: it is the 16-bit format that the chip computes in, or 32 bits where it has none. A format
of 8 bits is taken only when it is asked for, and is marked as changing the weights, so that a quality gate can look.
What chips compute in: NVIDIA's CUDA C++ Programming Guide, table of compute capabilities (tensor cores' formats), AMD's
CDNA ISA guides, Intel's and AMD's ISA names in /proc/cpuinfo. What vLLM makes of it: its table of supported hardware
for quantisation (docs.vllm.ai, features/quantization), versions 0.26 to 0.29.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tradewind.engines.engine import Precision
from tradewind.errors import CapacityError, NotFoundError, SpecError, did_you_mean

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Format:
    """A number format for the weights, with the reason in one sentence."""

    weights: str
    """As files and vLLM call it: float32, bfloat16, float16, fp8, fp8-fnuz, fp8 weights only, int8."""
    bits: int
    reason: str
    changes_weights: bool = False
    """Answers are not those of the files any more, so their quality is to be measured before users see them."""


@dataclass(frozen=True)
class Table:
    """What one kind of chip makes of each wish; a wish that is missing cannot be met."""

    auto: Format
    float8: Format | None = None
    int8: Format | None = None
    instead: str = ""
    """What else to do on a chip that lacks a format."""


def _same(weights: str, bits: int, reason: str) -> Format:
    return Format(weights, bits, reason)


def _less(weights: str, reason: str) -> Format:
    return Format(weights, 8, reason, changes_weights=True)


_BF16 = _same("bfloat16", 16, "its matrix units compute in bfloat16, the format that most models are trained in")
_FP16 = _same("float16", 16, "its matrix units know float16 and not bfloat16")
_FP8 = _less("fp8", "its matrix units multiply FP8 (E4M3) at twice the rate of bfloat16")
_FP8_WEIGHTS = _less(
    "fp8 weights only", "it has no FP8 units: weights are kept in FP8 and computed in 16 bits (Marlin)"
)
_FNUZ = _less("fp8-fnuz", "its matrix units multiply FP8 in the FNUZ encoding, to which E4M3 weights are rescaled")
_INT8 = _less("int8", "its matrix units multiply INT8 at twice the rate of 16 bits; files of 8 bits are needed")

FORMATS: Mapping[str, Table] = MappingProxyType(
    {
        "sm_100": Table(_BF16, _FP8, None, instead="give float8, which this chip multiplies at the same rate"),
        "sm_90": Table(_BF16, _FP8, _INT8),
        "sm_89": Table(_BF16, _FP8, _INT8),
        "sm_86": Table(_BF16, _FP8_WEIGHTS, _INT8),
        "sm_80": Table(_BF16, _FP8_WEIGHTS, _INT8),
        "sm_75": Table(_FP16, _FP8_WEIGHTS, _INT8),
        "sm_70": Table(_FP16, None, None, instead="give auto, or export 4-bit files (GPTQ)"),
        "gfx942": Table(_BF16, _FNUZ, None, instead="give float8, which this chip multiplies"),
        "gfx90a": Table(_BF16, None, None, instead="give auto; this chip's vLLM has neither FP8 nor INT8"),
        "cpu-amx": Table(
            _same("bfloat16", 16, "the processor multiplies bfloat16 tiles (AMX)"),
            None,
            _less("int8", "weights take half the memory; vLLM multiplies INT8 tiles (AMX) of files of 8 bits"),
            instead="give auto or int8",
        ),
        "cpu-avx512-bf16": Table(
            _same("bfloat16", 16, "the processor has products of bfloat16 (AVX512_BF16), and half the bytes to read"),
            None,
            _less("int8", "weights take half the memory; vLLM has products of INT8 (VNNI) for files of 8 bits"),
            instead="give auto or int8",
        ),
        "cpu": Table(
            _same("float32", 32, "the processor has no products of 16 bits, so that they would be slower than 32"),
            None,
            _less("int8", "weights take a quarter of the memory, and are computed in 32 bits"),
            instead="give auto, float32 or int8",
        ),
    }
)


def format_for(chip: str, wanted: Precision) -> Format:
    """The format for a kind of chip, like `sm_90`, `gfx942` or `cpu-amx`.

    Raises NotFoundError for an unknown kind, with the nearest, and SpecError for a wish that it cannot meet.
    """
    if chip not in FORMATS:
        raise NotFoundError(f"no table of formats for {chip!r}{did_you_mean(chip, FORMATS)}")
    table = FORMATS[chip]
    if wanted == "float32":
        return Format("float32", 32, "asked for; every chip computes in it, at a fraction of the 16-bit rate")
    if wanted == "bfloat16":
        if table.auto.weights == "float16":
            raise SpecError(f"{chip} has no bfloat16", hint="give auto, which is float16 there")
        return Format("bfloat16", 16, "asked for")
    made = {"auto": table.auto, "float8": table.float8, "int8": table.int8}[wanted]
    if made is None:
        raise SpecError(f"{chip} does not serve {wanted}", hint=table.instead)
    return made


def changes_weights(wanted: Precision) -> bool:
    """Whether any chip meets a wish by weights that are not those of the files."""
    if wanted not in ("float8", "int8"):
        return False
    return any(made.changes_weights for table in FORMATS.values() if (made := getattr(table, wanted)))


def this_chip() -> str:
    """The kind of chip that this process would serve on: its first GPU, else its processor."""
    import torch

    if torch.cuda.is_available():
        if torch.version.hip:
            return str(torch.cuda.get_device_properties(0).gcnArchName).partition(":")[0]
        return of_capability(*torch.cuda.get_device_capability(0))
    return of_cpu(_cpu_info())


def format_of_processor() -> Format:
    """That of `auto` on this machine's processor. Needs no torch."""
    return format_for(of_cpu(_cpu_info()), "auto")


def of_capability(major: int, minor: int) -> str:
    """The table's kind for a compute capability: the newest that is not newer. Raises CapacityError below 7.0."""
    known = sorted(int(name.removeprefix("sm_")) for name in FORMATS if name.startswith("sm_"))
    older = [one for one in known if one <= 10 * major + minor]
    if not older:
        raise CapacityError(f"compute capability {major}.{minor} is too old to serve on", hint="7.0 is the least")
    return f"sm_{older[-1]}"


def _cpu_info() -> str:
    return CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""


def of_cpu(text: str) -> str:
    """The table's kind for a processor, by the flags in the text of /proc/cpuinfo."""
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    flags = set(line.partition(":")[2].split())
    if {"amx_tile", "amx_bf16"} <= flags:
        return "cpu-amx"
    return "cpu-avx512-bf16" if "avx512_bf16" in flags else "cpu"
