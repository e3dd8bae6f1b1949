from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tradewind.catalog
from tradewind.catalog.chip import BITS
from tradewind.catalog.tables import (
    CHIP_COLUMNS,
    INSTANCE_COLUMNS,
    REGION_COLUMNS,
    read_chips,
    read_instances,
    read_regions,
    shipped_chips,
    shipped_files,
    shipped_instances,
    shipped_regions,
)
from tradewind.errors import IntegrityError

DATA = Path(tradewind.catalog.__file__).parent / "data"

CHIP: dict[str, str] = {"name": "H1", "vendor": "v", "kind": "gpu", "runtime": "cuda", "source": "s"}
INSTANCE = {"cloud": "aws", "name": "i", "chip": "H100-SXM", "chips": "8", "source": "s"}
REGION = {"cloud": "aws", "name": "r", "source": "s"}


def line(columns: tuple[str, ...], values: dict[str, str]) -> bytes:
    return f"{','.join(columns)}\n{','.join(values.get(column, '') for column in columns)}\n".encode()


def test_at_least_thirty_accelerators_are_known_each_with_its_source() -> None:
    accelerators = [chip for chip in shipped_chips().values() if chip.kind != "cpu"]
    assert len(accelerators) >= 30
    assert all(chip.source and chip.vendor and chip.runtime for chip in accelerators)


def test_every_row_says_where_it_is_from() -> None:
    assert all(chip.source for chip in shipped_chips().values())
    assert all(instance.source for instance in shipped_instances().values())
    assert all(region.source for region in shipped_regions().values())


@pytest.mark.parametrize(
    ("name", "format_", "flops", "memory_gib", "link_gb_per_s", "power_w"),
    [
        ("H100-SXM", "bf16", 989e12, 80, 450, 700),
        ("A100-SXM-40GB", "bf16", 312e12, 40, 300, 400),
        ("T4", "fp16", 65e12, 16, 15.75, 70),
        ("V100-SXM-16GB", "fp16", 125e12, 16, 150, 300),
        ("MI300X", "bf16", 1300e12, 192, 448, 750),
        ("TPU-v5e", "bf16", 197e12, 16, 200, None),
    ],
)
def test_figures_are_those_of_the_sources_and_links_are_of_one_direction(
    name: str, format_: Any, flops: float, memory_gib: int, link_gb_per_s: float, power_w: float | None
) -> None:
    chip = shipped_chips()[name]
    assert chip.flops[format_] == pytest.approx(flops)
    assert chip.memory_bytes == memory_gib * 2**30
    assert chip.link_bytes_per_s == pytest.approx(link_gb_per_s * 1e9)
    assert chip.power_w == power_w


def test_chips_without_bf16_have_no_rate_for_it() -> None:
    assert "bf16" not in shipped_chips()["T4"].flops
    assert "bf16" not in shipped_chips()["V100-SXM-32GB"].flops


def test_what_is_no_gpu_is_not_called_one() -> None:
    kinds = {chip.name: chip.kind for chip in shipped_chips().values()}
    assert {kinds[name] for name in ("Trainium2", "Inferentia2", "Gaudi3", "Ascend-910B")} == {"asic"}
    assert {kinds[name] for name in ("TPU-v5e", "TPU-v6e")} == {"tpu"}


def test_rates_are_of_known_formats_and_never_zero() -> None:
    for chip in shipped_chips().values():
        assert set(chip.flops) <= set(BITS)
        assert all(flops > 0 for flops in chip.flops.values())


def test_every_machine_with_a_chip_names_one_that_is_known() -> None:
    named = {instance.chip for instance in shipped_instances().values() if instance.chip}
    assert named <= set(shipped_chips())
    assert all((instance.chips == 0) == (not instance.chip) for instance in shipped_instances().values())


def test_shares_of_a_chip_are_not_counted_as_chips() -> None:
    shares = [one for one in shipped_instances().values() if one.name.startswith(("g6f.", "Standard_NV6ads_A10"))]
    assert shares
    assert {one.chips for one in shares} == {None}


def test_share_alike_rows_are_in_files_of_their_own() -> None:
    for table in ("instances", "regions", "chips", "prices"):
        for name, data in shipped_files(table):
            of_spare_cores = [
                text for text in data.decode().splitlines()[1:] if "SpareCores/sc-data-dumps data" in text
            ]
            if "cc-by-sa" in name:
                assert len(of_spare_cores) == len(data.decode().splitlines()) - 1
            elif table != "chips":  # which take no figure from there, only the name of three chips
                assert of_spare_cores == []


def test_every_file_is_explained_and_licences_are_beside_the_files_that_have_one() -> None:
    attribution = (DATA / "ATTRIBUTION.md").read_text()
    files = {path.name for path in DATA.rglob("*.csv")}
    assert {name for name in files if f"`{name}`" not in attribution} == set()
    assert "Attribution-ShareAlike 4.0" in (DATA / "LICENSE-CC-BY-SA-4.0.md").read_text()
    assert "Mozilla Public License" in (DATA / "LICENSE-MPL-2.0.md").read_text()


def test_no_two_regions_of_a_cloud_differ_in_case_alone() -> None:
    assert max(Counter((cloud, name.casefold()) for cloud, name in shipped_regions()).values()) == 1


@pytest.mark.parametrize(
    ("read", "columns", "values", "complaint"),
    [
        (read_chips, CHIP_COLUMNS, {**CHIP, "kind": "fpga"}, r"column kind: 'fpga' is not known"),
        (
            read_chips,
            CHIP_COLUMNS,
            {**CHIP, "bf16_tflops": "fast"},
            r"line 2, column bf16_tflops: 'fast' is not a number",
        ),
        (read_chips, CHIP_COLUMNS, {**CHIP, "power_w": "-1"}, r"column power_w: -1 is less than 0"),
        (read_chips, CHIP_COLUMNS, {**CHIP, "memory_gib": "nan"}, r"column memory_gib: 'nan' is not a number"),
        (read_chips, CHIP_COLUMNS, {**CHIP, "source": ""}, r"column source: is empty"),
        (read_instances, INSTANCE_COLUMNS, {**INSTANCE, "chip": "H101"}, r"column chip: 'H101' is not known"),
        (read_instances, INSTANCE_COLUMNS, {**INSTANCE, "chips": "0.5"}, r"column chips: 0.5 is less than 1"),
        (read_instances, INSTANCE_COLUMNS, {**INSTANCE, "chips": "1.5"}, r"column chips: 1.5 is not a whole number"),
        (read_instances, INSTANCE_COLUMNS, {**INSTANCE, "cloud": "awz"}, r"column cloud: 'awz' is not known"),
        (read_regions, REGION_COLUMNS, {**REGION, "pue": "0.9"}, r"column pue: 0.9 is less than 1"),
        (read_regions, REGION_COLUMNS, {**REGION, "latitude": "-91"}, r"column latitude: -91 is less than -90"),
    ],
)
def test_wrong_cell_is_named_with_file_line_and_column(
    read: Callable[[bytes, str], Iterator[object]], columns: tuple[str, ...], values: dict[str, str], complaint: str
) -> None:
    with pytest.raises(IntegrityError, match=f"table.csv, line 2, .*{complaint.split(', ')[-1]}"):
        list(read(line(columns, values), "table.csv"))


@pytest.mark.parametrize(
    ("read", "columns", "values"),
    [
        (read_chips, CHIP_COLUMNS, CHIP),
        (read_instances, INSTANCE_COLUMNS, INSTANCE),
        (read_regions, REGION_COLUMNS, REGION),
    ],
)
def test_row_that_is_there_twice_is_named(
    read: Callable[[bytes, str], Iterator[object]], columns: tuple[str, ...], values: dict[str, str]
) -> None:
    once = line(columns, values)
    assert len(list(read(once, "table.csv"))) == 1
    with pytest.raises(IntegrityError, match=r"table.csv, line 3, column name: a second row of "):
        list(read(once + once.split(b"\n", 1)[1], "table.csv"))


def test_right_cells_are_read() -> None:
    [instance] = read_instances(line(INSTANCE_COLUMNS, {**INSTANCE, "network_gbit_per_s": "8"}), "table.csv")
    assert (instance.chips, instance.network_bytes_per_s, instance.rdma) == (8, 1e9, "")
    [region] = read_regions(line(REGION_COLUMNS, {**REGION, "latitude": "-34.5", "pue": "1.1"}), "table.csv")
    assert (region.latitude, region.pue, region.carbon_g_per_kwh) == (-34.5, 1.1, None)
