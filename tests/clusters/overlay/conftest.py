from __future__ import annotations

import os
from pathlib import Path

import pytest

from tradewind.clusters.overlay import Hub, Overlay

OVERLAY = Overlay(subnet="10.99.0.0/28", endpoint="head.example.org")
WG = """#!/bin/bash
case "$1" in
genkey) head -c 32 /dev/urandom | base64 ;;
pubkey) sha256sum | head -c 32 | base64 ;;
syncconf)
  if [ -e {folder}/down ]; then echo "Unable to modify interface: No such device" >&2; exit 1; fi
  cp "$3" {folder}/applied ;;
show)
  seconds=0
  sed -n "s/^PublicKey = //p" {folder}/applied | while read -r key; do
    echo "$key $seconds"
    seconds=$((seconds + 100))
  done ;;
esac
"""
"""Stands for WireGuard's program where only what it is told matters: no device, no arithmetic of keys. The lab has the
real one."""


@pytest.fixture
def wireguard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what WireGuard was told: `applied`; a file `down` there takes the interface away."""
    folder, programs = tmp_path / "wireguard", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "wg").write_text(WG.format(folder=folder))
    (programs / "wg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


@pytest.fixture
def hub(wireguard: Path, tmp_path: Path) -> Hub:
    hub = Hub(OVERLAY, tmp_path / "hub")
    hub.create()
    return hub
