from __future__ import annotations

from pathlib import Path

import pytest
import ray

from tradewind.clusters.head.state import environment, make_folder


def test_folder_is_for_its_user_alone_even_if_it_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_folder().chmod(0o755)
    assert make_folder().stat().st_mode & 0o777 == 0o700


def test_gcs_knows_the_settings(tmp_path: Path) -> None:
    gcs = (Path(ray.__file__).parent / "core/src/ray/gcs/gcs_server").read_bytes()
    assert all(name.encode() in gcs for name in environment(tmp_path))
