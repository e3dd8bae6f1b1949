from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tradewind.errors import NotFoundError, StorageError
from tradewind.storage import open_store
from tradewind.testing import servers
from tradewind.testing.servers import (
    azurite_available,
    azurite_hint,
    install_azurite,
    moto_available,
    start_azurite,
    start_moto,
)

needs_azurite = pytest.mark.skipif(not azurite_available(), reason=f"needs Azurite: {azurite_hint()}")
needs_moto = pytest.mark.skipif(not moto_available(), reason="needs moto: pip install 'moto[s3,server]'")


def is_up(endpoint: str) -> bool:
    return servers._listens(int(endpoint.split(":")[2].partition("/")[0]))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    return monkeypatch


@needs_azurite
def test_azurite_runs_as_long_as_the_block(alone: pytest.MonkeyPatch) -> None:
    with start_azurite() as server:
        server.make_container("harbour")
        server.make_container("harbour")
        for name, value in server.environment.items():
            alone.setenv(name, value)
        open_store("az://harbour/a").put("b", b"1")
        assert open_store("az://harbour/a").get("b") == b"1"
        assert server.key not in repr(server)
    assert not is_up(server.endpoint)


@needs_azurite
def test_container_with_an_impossible_name_is_refused() -> None:
    with start_azurite() as server, pytest.raises(StorageError, match="was answered with 400"):
        server.make_container("No-Container")


@needs_moto
def test_moto_runs_as_long_as_the_block(alone: pytest.MonkeyPatch) -> None:
    with start_moto() as server:
        server.make_bucket("harbour")
        for name, value in {"ENDPOINT_URL": server.endpoint, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
            alone.setenv(f"AWS_{name}", value)
        open_store("s3://harbour/a").put("b", b"1")
        assert open_store("s3://harbour/a").get("b") == b"1"
    assert not is_up(server.endpoint)


@needs_moto
def test_two_servers_do_not_get_in_each_others_way() -> None:
    with start_moto() as one:
        with start_moto() as other:
            assert one.endpoint != other.endpoint
        assert is_up(one.endpoint)
        assert not is_up(other.endpoint)


def test_missing_azurite_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match="Azurite is not installed") as caught, start_azurite():
        pass
    assert caught.value.hint == f"npm install --prefix {tmp_path}/tradewind/servers/azurite azurite@3"
    with pytest.raises(NotFoundError, match="no npm"):
        install_azurite()


def test_failed_installation_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho the registry is closed >&2\nexit 3\n")
    npm.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _name: str(npm))
    with pytest.raises(StorageError, match="npm ended with 3: the registry is closed"):
        install_azurite()


def test_server_that_ends_at_once_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "azurite-blob"
    program.write_text("#!/bin/sh\nexit 5\n")
    program.chmod(0o755)
    find: Callable[[], str] = lambda: str(program)  # noqa: E731
    monkeypatch.setattr(servers, "_azurite", find)
    with pytest.raises(StorageError, match="azurite-blob ended with exit code 5"), start_azurite():
        pass
