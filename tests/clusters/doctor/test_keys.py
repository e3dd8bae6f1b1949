from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.clusters.doctor.keys import check_key, check_keys, check_token
from tradewind.clusters.lint.part import Part

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\n"


def file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "file"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_token_of_ones_own_is_all_right_and_is_not_printed(tmp_path: Path) -> None:
    found = check_token(file(tmp_path, "s" * 64))
    assert found.state == "ok"
    assert "sss" not in str(found)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [("s" * 64, 0o644, "can be read by others (644)"), ("short", 0o600, "too short"), ("", 0o600, "too short")],
)
def test_token_that_is_open_or_none_is_a_problem(text: str, mode: int, said: str, tmp_path: Path) -> None:
    found = check_token(file(tmp_path, text, mode))
    assert found.state == "problem"
    assert said in found.said
    assert found.fix


def test_missing_token_is_a_problem_with_the_command_that_makes_one(tmp_path: Path) -> None:
    assert check_token(tmp_path / "none").fix == "ray get-auth-token --generate"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [(PRIVATE, 0o640, "can be read by others (640)"), ("ssh-ed25519 AAAA me\n", 0o600, "is no private key")],
)
def test_key_that_is_open_or_public_is_a_problem(text: str, mode: int, said: str, tmp_path: Path) -> None:
    assert said in check_key(file(tmp_path, text, mode)).said


def test_keys_of_the_file_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    key = str(file(tmp_path, PRIVATE))
    backends = {"a": {"type": "static", "ssh_private_key": "~/none"}, "b": {"type": "static", "ssh_private_key": key}}
    values = {"auth": {"ssh_private_key": key}, "provider": {"type": "external", "backends": backends}}
    token, first, second = check_keys(Part(values, {}))
    assert (token.state, first.state, second.said) == ("problem", "ok", f"{tmp_path}/none is not there")
