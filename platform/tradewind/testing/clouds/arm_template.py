"""Templates of Azure Resource Manager: their expressions, loops and conditions, as far as Ray's two templates go.

https://learn.microsoft.com/azure/azure-resource-manager/templates/template-expressions. What is between brackets is
parsed into functions that are called when a value is needed, because `if` must not look at the branch not taken.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[()\[\],.]))")
Value = Callable[["Scope"], Any]


@dataclass(frozen=True)
class Scope:
    """What an expression can speak of."""

    group: str
    """The resource group's id, from `/subscriptions/` on."""

    location: str
    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    find: Callable[[str], Mapping[str, Any]]
    """The properties of a resource, by id or by name."""

    index: int = 0
    """Of the copy that is made."""

    def value(self, wanted: Any) -> Any:
        """A piece of a template, with all expressions in it replaced by what they say."""
        if isinstance(wanted, dict):
            return {self.value(key): self.value(value) for key, value in wanted.items()}
        if isinstance(wanted, list):
            return [self.value(value) for value in wanted]
        if isinstance(wanted, str) and wanted.startswith("[") and not wanted.startswith("[["):
            return parse(wanted[1:-1])(self)
        return wanted


def scope_of(
    template: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    *,
    group: str,
    location: str,
    find: Callable[[str], Mapping[str, Any]],
) -> Scope:
    """Raises ValueError for a parameter that the template does not have, or that it needs and is not given."""
    declared = template["parameters"]
    unknown = [name for name in given if name not in declared]
    missing = [name for name, of in declared.items() if name not in given and "defaultValue" not in of]
    if unknown or missing:
        raise ValueError(f"parameters that are not declared: {unknown}; that have no value: {missing}")
    values = {name: given[name]["value"] if name in given else of["defaultValue"] for name, of in declared.items()}
    return Scope(group, location, _any_case(values), _any_case(template.get("variables", {})), find)


def resources(template: Mapping[str, Any], scope: Scope) -> Iterator[dict[str, Any]]:
    """Each resource that is to be made, what others are built on first."""
    for resource in sorted(template["resources"], key=lambda resource: _rank(resource["type"])):
        if scope.value(resource.get("condition", True)):
            for copy in _copies(resource.get("copy"), scope):
                yield {key: copy.value(value) for key, value in resource.items() if key not in {"copy", "dependsOn"}}


def outputs(template: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    wanted = {name: of for name, of in template["outputs"].items() if scope.value(of.get("condition", True))}
    return {name: {"type": of["type"], "value": _output(of, scope)} for name, of in wanted.items()}


def parse(text: str) -> Value:
    """Raises ValueError for what is no expression."""
    tokens = _tokens(text)
    value, rest = _expression(tokens)
    if rest:
        raise ValueError(f"{text!r} goes on after its end")
    return value


def _rank(kind: str) -> int:
    """In place of `dependsOn`: machines need interfaces, these need addresses."""
    order = ("publicipaddresses", "networkinterfaces", "virtualmachines")
    last = kind.lower().rsplit("/", 1)[-1]
    return order.index(last) + 1 if last in order else 0


def _copies(copy: Mapping[str, Any] | None, scope: Scope) -> Iterator[Scope]:
    for index in range(1 if copy is None else scope.value(copy["count"])):
        yield replace(scope, index=index)


def _output(of: Mapping[str, Any], scope: Scope) -> Any:
    if "copy" not in of:
        return scope.value(of["value"])
    return [copy.value(of["copy"]["input"]) for copy in _copies(of["copy"], scope)]


def _tokens(text: str) -> list[str]:
    found, position = [], 0
    while position < len(text.rstrip()):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is no expression from {position} on")
        found.append(match.group().strip())
        position = match.end()
    return found


def _expression(tokens: list[str]) -> tuple[Value, list[str]]:
    value, tokens = _primary(tokens)
    while tokens and tokens[0] in {".", "["}:
        if tokens[0] == ".":
            value, tokens = _item(value, _constant(tokens[1])), tokens[2:]
        else:
            key, rest = _expression(tokens[1:])
            value, tokens = _item(value, key), rest[1:]
    return value, tokens


def _primary(tokens: list[str]) -> tuple[Value, list[str]]:
    first, *rest = tokens
    if first.startswith("'"):
        return _constant(first[1:-1].replace("''", "'")), rest
    if first.isdigit():
        return _constant(int(first)), rest
    arguments: list[Value] = []
    rest = rest[1:]
    while rest[0] != ")":
        argument, rest = _expression(rest)
        arguments.append(argument)
        rest = rest[1:] if rest[0] == "," else rest
    return _call(first.lower(), arguments), rest[1:]


def _constant(value: Any) -> Value:
    return lambda _scope: value


def _item(value: Value, key: Value) -> Value:
    return lambda scope: value(scope)[key(scope)]


def _call(name: str, arguments: Sequence[Value]) -> Value:
    if name == "if":
        is_so, then, otherwise = arguments
        return lambda scope: then(scope) if is_so(scope) else otherwise(scope)
    if name not in FUNCTIONS:
        raise ValueError(f"there is no function {name} here")
    return lambda scope: FUNCTIONS[name](scope, *(argument(scope) for argument in arguments))


def _variable(scope: Scope, name: str) -> Any:
    return scope.value(scope.variables[name.lower()])


def _resource_id(scope: Scope, *parts: str) -> str:
    """A resource group may stand before the type."""
    group = scope.group
    if "/" not in parts[0]:
        group, parts = f"{group.rsplit('/', 1)[0]}/{parts[0]}", parts[1:]
    namespace, *kinds = parts[0].strip("/").split("/")
    return f"{group}/providers/{namespace}/" + "/".join(
        f"{kind}/{name}" for kind, name in zip(kinds, parts[1:], strict=True)
    )


def _subscription_resource_id(scope: Scope, kind: str, name: str) -> str:
    return f"{scope.group.split('/resourceGroups/')[0]}/providers/{kind}/{name}"


def _any_case(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in values.items()}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "parameters": lambda scope, name: scope.parameters[name.lower()],
    "variables": _variable,
    "resourcegroup": lambda scope: {"id": scope.group, "location": scope.location},
    "resourceid": _resource_id,
    "subscriptionresourceid": _subscription_resource_id,
    "reference": lambda scope, name, _version="": scope.find(name),
    "copyindex": lambda scope: scope.index,
    "concat": lambda _scope, *parts: "".join(str(part) for part in parts),
    "guid": lambda _scope, *parts: str(uuid.uuid5(uuid.NAMESPACE_OID, "-".join(parts))),
    "equals": lambda _scope, one, other: one == other,
    "greater": lambda _scope, one, other: one > other,
    "not": lambda _scope, value: not value,
    "length": lambda _scope, value: len(value),
    "mod": lambda _scope, one, other: one % other,
    "string": lambda _scope, value: str(value),
    "createarray": lambda _scope, *values: list(values),
    "json": lambda _scope, text: json.loads(text),
}
