"""A folder for PYTHONPATH, with a `sitecustomize` that leads the clients of clouds to a lab's."""

from __future__ import annotations

from pathlib import Path

REDIRECT = Path(__file__).parent
