from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tradewind.errors import NotFoundError, SpecError
from tradewind.plugins import Table

AddModule = Callable[[str, str], None]


@pytest.fixture
def add_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddModule]:
    """Writes a module that can be imported in this test only."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def add(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)

    yield add
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that brings two sails."""
    folder = tmp_path / "site"
    info = folder / "far_sails-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-sails\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tradewind.sails]\nlateen = far_sails:lateen\njib = far_sails:other_jib\n")
    (folder / "far_sails.py").write_text("lateen = 'a lateen'\nother_jib = 'their jib'\n")
    monkeypatch.syspath_prepend(str(folder))


def test_table_imports_nothing_until_a_name_is_asked_for(add_module: AddModule) -> None:
    add_module("near_sails", "jib = 'a jib'\n")
    table = Table("sail", {"jib": "near_sails:jib"})
    assert "jib" in table
    assert list(table) == ["jib"]
    assert len(table) == 1
    assert "near_sails" not in sys.modules
    assert table["jib"] == "a jib"
    assert "near_sails" in sys.modules


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no sail named 'jip' \(did you mean 'jib'\?\)"):
        Table("sail", {"jib": "near_sails:jib", "spanker": "near_sails:spanker"})["jip"]


def test_far_off_name_is_answered_with_all_names() -> None:
    with pytest.raises(NotFoundError, match=r"no sail named 'xyz' \(known: jib, spanker\)"):
        Table("sail", {"jib": "near_sails:jib", "spanker": "near_sails:spanker"})["xyz"]


def test_missing_module_is_a_spec_error_that_says_what_to_install() -> None:
    with pytest.raises(SpecError, match=r"sail 'jib' cannot be loaded: No module named 'no_such_module'") as caught:
        Table("sail", {"jib": "no_such_module:jib"})["jib"]
    assert caught.value.hint is not None
    assert "install" in caught.value.hint


def test_module_without_the_named_object_is_a_spec_error(add_module: AddModule) -> None:
    add_module("bare_sails", "")
    with pytest.raises(SpecError, match=r"sail 'jib' cannot be loaded: .*no attribute 'jib'"):
        Table("sail", {"jib": "bare_sails:jib"})["jib"]


@pytest.mark.usefixtures("installed")
def test_installed_packages_add_names_through_entry_points() -> None:
    table = Table("sail", {"jib": "near_sails:jib"})
    assert set(table) == {"jib", "lateen"}
    assert "lateen" in table
    assert table["lateen"] == "a lateen"


@pytest.mark.usefixtures("installed")
def test_installed_package_never_replaces_a_name_of_ours(add_module: AddModule) -> None:
    add_module("near_sails", "jib = 'our jib'\n")
    assert Table("sail", {"jib": "near_sails:jib"})["jib"] == "our jib"


@pytest.mark.usefixtures("installed")
def test_entry_point_group_may_have_a_plural_of_its_own() -> None:
    assert "lateen" in Table("canvas", {}, group="sails")
    assert "lateen" not in Table("canvas", {})
