"""Imports point down. The rows are those of the design; a package that is in no row fails."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "imports", "lazy", "units"),
    ("plugins", "progress", "testing", "versions"),
    ("specs", "records"),
    ("catalog",),
    ("storage",),
    ("datasets", "registry", "ledger", "reports"),
    ("families", "engines"),
    ("planner",),
    ("clusters",),
    ("training", "serving"),
    ("tuning",),
    ("workspace",),
    ("cli", "notebook", "demo"),
    ("__main__",),
)
"""From the ground up."""

HOUSE = Path(__file__).parents[2] / "platform" / "tradewind"
ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}
VAGUE = {"utils", "util", "common", "core", "helpers", "helper", "misc", "manager"}


def modules() -> list[Path]:
    return sorted(path for path in HOUSE.rglob("*.py") if path != HOUSE / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported_parts(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Line and part of each import of ours, inner ones and those for types included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "tradewind" else [base]
        else:
            continue
        yield from ((node.lineno, name.split(".")[1]) for name in names if name.startswith("tradewind."))


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = ("tradewind", *path.relative_to(HOUSE).parts[: -node.level])
    return ".".join((*package, node.module) if node.module else package)


def wrong_imports(path: Path, text: str) -> list[str]:
    part = part_of(path)
    return [
        f"{path.relative_to(HOUSE)}:{line} imports {other}, which is not below {part}"
        for line, other in imported_parts(path, text)
        if other != part and ROW_OF.get(other, len(ROWS)) >= ROW_OF.get(part, -1)
    ]


def test_every_module_is_in_a_row() -> None:
    assert {part_of(path) for path in modules()} - ROW_OF.keys() == set()


def test_imports_point_down() -> None:
    assert [wrong for path in modules() for wrong in wrong_imports(path, path.read_text())] == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("records/base.py", "from tradewind.storage import Store"),
        ("records/base.py", "import tradewind.specs.train"),
        ("records/base.py", "from tradewind import specs"),
        ("records/base.py", "from ..specs import TrainSpec"),
        ("records/base.py", "from .. import specs"),
        ("storage/s3.py", "def f():\n    from tradewind.workspace import Workspace"),
        ("errors.py", "from tradewind.units import parse_bytes"),
        ("errors.py", "from . import units"),
        ("records/base.py", "from tradewind import Workspace"),
        ("records/base.py", "import tradewind.unheard_of"),
    ],
)
def test_import_that_points_up_or_sideways_is_seen(place: str, text: str) -> None:
    assert len(wrong_imports(HOUSE / place, text)) == 1


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("storage/s3.py", "from tradewind.storage.object_store import ObjectStore\nimport os"),
        ("storage/s3.py", "from . import store\nfrom .store import Store\nfrom ..errors import SpecError"),
        ("cli/app.py", "from tradewind import workspace"),
    ],
)
def test_import_that_points_down_or_stays_inside_is_free(place: str, text: str) -> None:
    assert wrong_imports(HOUSE / place, text) == []


def test_names_say_what_a_module_is_for() -> None:
    assert {path.stem for path in [*modules(), *HOUSE.rglob("*/")]} & VAGUE == set()
