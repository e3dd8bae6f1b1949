"""The pages say what the code says: fields and defaults of specs, environment variables, errors, rows of the house."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tests.house.test_layers import HOUSE, ROWS, modules
from tradewind import errors, specs
from tradewind.clusters.local import SETTINGS

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "docs" / "reference" / "specs.md"
ENVIRONMENT = ROOT / "docs" / "reference" / "environment.md"
CONCEPTS = ROOT / "docs" / "concepts.md"
DESIGN = ROOT / "docs" / "design.md"

MODELS: tuple[type[BaseModel], ...] = (
    specs.DatasetSpec,
    specs.TextSpec,
    specs.TableSpec,
    specs.ChatSpec,
    specs.TokenizerSpec,
    specs.TrainSpec,
    specs.ModelSpec,
    specs.LatentSpec,
    specs.ExpertsSpec,
    specs.BatchSpec,
    specs.OrderSpec,
    specs.OptimizerSpec,
    specs.ParallelSpec,
    specs.PrecisionSpec,
    specs.LoraSpec,
    specs.GuardSpec,
    specs.TuneSpec,
    specs.RangeSpec,
    specs.SchedulerSpec,
    specs.ServeSpec,
    specs.QualitySpec,
    specs.SplitSpec,
    specs.ScalingSpec,
    specs.TrafficSpec,
    specs.WhereSpec,
    specs.CatalogSpec,
    specs.DiscountSpec,
    specs.ReservationSpec,
    specs.HardwareSpec,
    specs.ChipSpec,
    specs.ClusterSpec,
    specs.HeadSpec,
    specs.GroupSpec,
    specs.CandidateSpec,
    specs.SiteSpec,
    specs.OverlaySpec,
    specs.KubernetesSpec,
    specs.JobSpec,
    specs.ServiceSpec,
)
each_model = pytest.mark.parametrize("model", MODELS, ids=[model.__name__ for model in MODELS])

VARIABLE = re.compile(r"(?:TRADEWIND|XDG|AWS|RAY)_[A-Z0-9_]*[A-Z0-9]")
PREFIXES = {"RAY_AUTH"}
"""What our modules compare the beginning of a variable with."""


def described(model: type[BaseModel]) -> dict[str, str]:
    """Field → what the page says as its default, from the table below the model's mark."""
    _, _, rest = SPECS.read_text().partition(f"<!-- fields: {model.__name__} -->\n")
    rows = [line.split(" | ") for line in rest.partition("\n\n")[0].splitlines()[2:]]
    return {row[0].removeprefix("| ").strip("`"): row[2] for row in rows}


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by the words that people write; `from` cannot be a name in Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def default_of(field: FieldInfo) -> Any:
    """The default as a page of YAML values would have it."""
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "all defaults"
    return list(field.default) if isinstance(field.default, tuple) else field.default


def variables_read() -> set[str]:
    """Words that look like variables in the strings of our modules, docstrings and messages included."""
    found = {name for path in modules() for text in _strings(path) for name in VARIABLE.findall(text)}
    return (found - PREFIXES) | SETTINGS.keys()


def _strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@each_model
def test_page_names_the_fields_of_a_spec_in_their_order(model: type[BaseModel]) -> None:
    assert list(described(model)) == list(fields_of(model))


@each_model
def test_page_says_the_defaults_of_a_spec(model: type[BaseModel]) -> None:
    for name, said in described(model).items():
        default = default_of(fields_of(model)[name])
        if default is None:  # worked out from other fields, or no limit: the page says it in words
            assert not said.startswith("`"), name
        else:
            assert yaml.safe_load(said.strip("`")) == default, name


def test_every_block_of_every_spec_is_here() -> None:
    seen = {specs.base._model_in(field.annotation) for model in MODELS for field in model.model_fields.values()}
    assert {model for model in seen if model} | set(specs.KINDS.values()) == set(MODELS)


def test_page_names_every_variable_that_is_read() -> None:
    page = set(VARIABLE.findall(ENVIRONMENT.read_text()))
    assert variables_read() - page == set()


def test_page_says_remedy_and_exit_code_of_every_error() -> None:
    page = re.findall(r"^\| `(\w+Error)` \| (\w+) \| (\d+) \|", CONCEPTS.read_text(), re.MULTILINE)
    tree = errors.TradewindError.__subclasses__()
    assert sorted(page) == sorted((kind.__name__, kind.remedy, str(kind.exit_code)) for kind in tree)


def test_design_draws_the_rows_as_they_are() -> None:
    page = dict(re.findall(r"^\| (\d+) \| ((?:`\w+` ?)+) \|", DESIGN.read_text(), re.MULTILINE))
    there = {path.relative_to(HOUSE).parts[0].removesuffix(".py") for path in modules()}
    rows = {str(number): [name for name in row if name in there] for number, row in enumerate(ROWS)}
    assert {number: re.findall(r"\w+", names) for number, names in page.items()} == rows


def test_variables_are_found() -> None:
    assert {"TRADEWIND_WORKSPACE", "TRADEWIND_CACHE", "XDG_STATE_HOME", "RAY_ADDRESS"} <= variables_read()
