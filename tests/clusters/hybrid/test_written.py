from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tradewind.clusters.hybrid.written import PARAMETER, with_line

FILE = """\
cluster_name: harbour
provider:
  backends:
    berlin-1: {type: static}
available_node_types:
  cpu:
    node_config:
      candidates:
        - name: first
        - name: second
          backend: berlin
"""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """What a command of Ray was given."""
    path = tmp_path / "harbour.yaml"
    path.write_text(FILE)
    context = click.Context(click.Command("up"))
    context.params[PARAMETER] = str(path)
    with context:
        yield path


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("provider.backends.berlin-1", 4),
        ("provider.backends.berlin-1.hosts", 4),
        ("available_node_types.cpu", 6),
        ("available_node_types.cpu.node_config.candidates[1].backend", 11),
        ("available_node_types.cpu.node_config.candidates[1].market", 10),
        ("provider.cluster", 2),
    ],
)
def test_message_gets_the_line_of_its_place_or_of_what_is_around_it(path: Path, place: str, line: int) -> None:
    assert with_line(f"{place}: no") == f"{path}:{line}: {place}: no"
    assert with_line("no", place=place) == f"{path}:{line}: no"


@pytest.mark.parametrize("message", ["nothing of the file", "host a: no", ""])
def test_message_that_names_no_place_stays_as_it_is(path: Path, message: str) -> None:
    assert with_line(message) == message


def test_message_stays_as_it_is_without_a_command_or_its_file(path: Path) -> None:
    path.unlink()
    assert with_line("provider: no") == "provider: no"


def test_message_stays_as_it_is_on_the_head() -> None:
    assert with_line("provider: no") == "provider: no"


def test_ray_calls_its_file_so() -> None:
    from ray.scripts.scripts import up

    assert PARAMETER in [parameter.name for parameter in up.params]
