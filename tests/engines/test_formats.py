from __future__ import annotations

import pytest

from tradewind.engines.engine import Precision
from tradewind.engines.formats import FORMATS, Need, check_fit, format_for, of_capability, of_cpu, this_chip
from tradewind.errors import CapacityError, NotFoundError, SpecError

GB = 10**9


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


class TestFit:
    NEED = Need(parameters=70 * GB, cache_bytes_per_token=327_680, context=8192)
    """Llama-3 70B."""

    def test_model_that_fits_is_let_through(self) -> None:
        check_fit(self.NEED, format_for("sm_90", "auto"), chip_bytes=80 * GB, chips=4)

    def test_model_that_does_not_is_refused_by_how_much_and_with_what_would(self) -> None:
        with pytest.raises(CapacityError) as caught:
            check_fit(self.NEED, format_for("sm_90", "auto"), chip_bytes=80 * GB, chips=1)
        assert "weights in bfloat16" in caught.value.message
        assert "more than the" in caught.value.message
        assert caught.value.hint == "it fits on 2 chips of this kind"

    def test_fewer_bits_and_a_shorter_context_are_offered_where_they_would_do(self) -> None:
        need = Need(parameters=8 * GB, cache_bytes_per_token=131_072, context=131_072)
        with pytest.raises(CapacityError) as caught:
            check_fit(need, format_for("sm_89", "auto"), chip_bytes=30 * GB)
        hint = str(caught.value.hint)
        assert "or in float8" in hint
        assert "or with a context of" in hint
        shorter = int(hint.rpartition(" of ")[2].split()[0])
        fits = Need(parameters=8 * GB, cache_bytes_per_token=131_072, context=shorter)
        check_fit(fits, format_for("sm_89", "auto"), chip_bytes=30 * GB)
