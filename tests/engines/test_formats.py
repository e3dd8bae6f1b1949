from __future__ import annotations

import pytest

from tradewind.engines.engine import Precision
from tradewind.engines.formats import FORMATS, format_for, of_capability, of_cpu, this_chip
from tradewind.errors import CapacityError, NotFoundError, SpecError


@pytest.mark.parametrize("chip", FORMATS)
def test_each_format_has_a_reason_and_what_is_lacking_a_way_out(chip: str) -> None:
    table = FORMATS[chip]
    for made in (table.auto, table.float8, table.int8):
        assert made is None or (made.reason and made.changes_weights == (made.bits == 8))
    assert table.instead or (table.float8 and table.int8)


@pytest.mark.parametrize(
    ("chip", "wanted", "weights"),
    [
        ("sm_90", "auto", "bfloat16"),
        ("sm_90", "float8", "fp8"),
        ("sm_80", "float8", "fp8 weights only"),
        ("sm_75", "auto", "float16"),
        ("gfx942", "float8", "fp8-fnuz"),
        ("cpu-avx512-bf16", "auto", "bfloat16"),
        ("cpu", "auto", "float32"),
    ],
)
def test_formats_are_those_that_the_chip_computes_in(chip: str, wanted: Precision, weights: str) -> None:
    assert format_for(chip, wanted).weights == weights


def test_auto_never_changes_weights() -> None:
    assert not any(format_for(chip, "auto").changes_weights for chip in FORMATS)


def test_chip_without_a_format_says_what_to_do_instead() -> None:
    with pytest.raises(SpecError, match="sm_70 does not serve float8") as caught:
        format_for("sm_70", "float8")
    assert "GPTQ" in str(caught.value.hint)


def test_unknown_chip_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'gfx942'"):
        format_for("gfx943", "auto")


@pytest.mark.parametrize(
    ("capability", "chip"), [((9, 0), "sm_90"), ((8, 7), "sm_86"), ((10, 3), "sm_100"), ((12, 0), "sm_100")]
)
def test_capability_means_the_newest_kind_that_is_not_newer(capability: tuple[int, int], chip: str) -> None:
    assert of_capability(*capability) == chip


def test_capability_that_is_too_old_is_refused() -> None:
    with pytest.raises(CapacityError, match=r"6\.1 is too old"):
        of_capability(6, 1)


@pytest.mark.parametrize(
    ("flags", "chip"),
    [
        ("avx2 avx512f avx512_bf16 amx_tile amx_bf16", "cpu-amx"),
        ("avx2 avx512f avx512_bf16", "cpu-avx512-bf16"),
        ("avx2 amx_tile", "cpu"),
        ("", "cpu"),
    ],
)
def test_processor_is_known_by_its_flags(flags: str, chip: str) -> None:
    assert of_cpu(f"model name : any\nflags\t\t: fpu {flags}\n") == chip
    assert of_cpu("") == "cpu"


def test_this_machine_has_a_table() -> None:
    assert this_chip() in FORMATS
