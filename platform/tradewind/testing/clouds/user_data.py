"""What cloud-init does with a document of user data, as far as nodes of a cluster ask it to: as a script of bash.

https://cloudinit.readthedocs.io/en/latest/reference/modules.html
"""

from __future__ import annotations

import base64
import shlex
from typing import Any

HEADER = "#cloud-config\n"


def startup_script(user_data: str) -> str:
    """Writes the files and runs the commands. Packages are there, and a power state is left to the lab.

    What is no `#cloud-config` does nothing, as on images whose cloud-init knows no other form.
    """
    import yaml

    if not user_data.startswith(HEADER):
        return ""
    document: dict[str, Any] = yaml.safe_load(user_data)
    files = [_write(file) for file in document.get("write_files", ())]
    return "".join(f"{line}\n" for line in (*files, *map(shlex.join, document.get("runcmd", ()))))


def _write(file: dict[str, str]) -> str:
    coded = base64.b64encode(file["content"].encode()).decode()
    return f"echo {coded} | base64 -d | install -D -m {file['permissions']} /dev/stdin {shlex.quote(file['path'])}"
