"""The schema of KubeRay's resources, read strictly: a field that it does not know is an error."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]

SCHEMA = Path(__file__).parents[1] / "kuberay" / "schema.json"


def complaints(manifest: dict[str, Any]) -> list[str]:
    """What KubeRay's schema has against a manifest."""
    found = _validator(manifest["kind"]).iter_errors(manifest)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found]


@cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    whole = _strict(json.loads(SCHEMA.read_text()))
    schema = {**whole["kinds"][kind], "$defs": whole["$defs"]}
    if "$ref" in schema:
        schema = {**whole["$defs"][schema.pop("$ref").rpartition("/")[2]], "$defs": whole["$defs"]}
    schema["properties"] = {**schema["properties"], "metadata": {"type": "object"}}
    return jsonschema.Draft202012Validator(schema)


def _strict(part: Any) -> Any:
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {key: _strict(item) for key, item in part.items()}
    if part.pop("x-kubernetes-int-or-string", None):
        return {"type": ["integer", "string", "number"]}
    open_ended = part.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in part
    if part.get("type") == "object" and "properties" in part and not open_ended:
        part["additionalProperties"] = False
    if part.pop("nullable", None):
        part["type"] = [part["type"], "null"]
    return part
