"""Where the head keeps what it knows, so that a new one knows it too.

Ray's GCS writes its tables (nodes, jobs, actors, placement groups, and all of its key-value store) into a RocksDB of
its own, which syncs every write to the disk. Ray 2.60 calls this alpha. Redis, which it has supported for longer, was
measured side by side and kept the same; but Ray passes its password on the command line of every process, where each
user of the machine reads it, and it is one more server to install, guard and restart.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("~/.tradewind-cluster/head")
"""On the head's disk, for its user alone. What is in it goes with the machine, or when an own host is given back."""


def make_folder() -> Path:
    folder = FOLDER.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """For `ray start --head`, and for no worker."""
    return {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder / "state")}
