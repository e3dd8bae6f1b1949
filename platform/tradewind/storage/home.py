"""Where the workspace is that nobody has named."""

from __future__ import annotations

import os
from pathlib import Path

LOCATION = "TRADEWIND_WORKSPACE"


def default_url() -> str:
    """`$TRADEWIND_WORKSPACE`, or `~/.tradewind`."""
    return os.environ.get(LOCATION) or str(Path.home() / ".tradewind")
