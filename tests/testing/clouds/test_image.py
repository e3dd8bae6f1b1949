"""Where a lab's hosts find Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.testing.clouds.image import image_available, image_folder, image_path


def test_image_is_there_when_it_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_LAB_IMAGE", str(tmp_path))
    assert image_folder() == tmp_path
    assert not image_available()
    (tmp_path / "installed").touch()
    assert image_available()


def test_image_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADEWIND_LAB_IMAGE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert image_folder() == Path("/somewhere/tradewind/lab/image")


def test_its_programs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_LAB_IMAGE", str(tmp_path))
    assert image_path().split(":")[0] == f"{tmp_path}/bin"
