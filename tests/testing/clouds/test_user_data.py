"""User data as a host of a lab carries it out."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tradewind.testing.clouds.user_data import HEADER, startup_script

DOCUMENT = """
packages: [nftables]
write_files:
- path: {folder}/deep/note
  permissions: '0600'
  content: |
    it's a "note"
runcmd:
- [bash, -c, "cat {folder}/deep/note > {folder}/copy"]
power_state: {{mode: poweroff}}
"""


def test_files_are_written_before_commands_run(tmp_path: Path) -> None:
    script = startup_script(HEADER + DOCUMENT.format(folder=tmp_path))
    subprocess.run(["bash", "-e", "-c", script], check=True)
    note = tmp_path / "deep" / "note"
    assert note.read_text() == (tmp_path / "copy").read_text() == 'it\'s a "note"\n'
    assert note.stat().st_mode & 0o777 == 0o600


def test_what_is_no_document_of_cloud_init_does_nothing() -> None:
    assert startup_script("") == startup_script("#!/bin/sh\nreboot\n") == ""
