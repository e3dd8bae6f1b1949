"""What `ray up` does before it makes anything: each backend's provider of Ray completes the node configurations.

Ray's providers expect a cluster of one cloud. So each is given one: the candidates of its backend as node types, and a
head. What it found (subnets, security groups, images, the identity of the head) is copied back into the candidates.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from tradewind.clusters.hybrid.backend import Machine
from tradewind.clusters.hybrid.candidate import read_candidates
from tradewind.clusters.hybrid.connecting import provider_class, rays_part
from tradewind.clusters.hybrid.failures import understand
from tradewind.clusters.hybrid.keys import azure_public_key, give_to_aws, give_to_gcp, public_key
from tradewind.clusters.hybrid.settings import Settings
from tradewind.clusters.hybrid.tags import LAUNCH, split_node_id
from tradewind.clusters.overlay import Overlay
from tradewind.errors import CloudError, SpecError, TradewindError, did_you_mean

NO_PROFILE = {"IamInstanceProfile": {"Name": "none"}}
"""Ray's AWS provider makes a role for a head that has no profile, and waits 30 s for it; workers need none."""

Config = dict[str, Any]
Item = tuple[str, bool, Config]
"""A candidate as it is written: its name as a node type, whether it is for the head, and the candidate."""


def bootstrap(config: Config) -> Config:
    """A completed copy. Raises SpecError, AuthError or CloudError that names the backend or the place in the YAML."""
    config = copy.deepcopy(config)
    settings = Settings.read(config["provider"])
    _check_classes(config, settings)
    _check_key(config, settings)
    _check_overlay(config, settings)
    for name, backend in config["provider"]["backends"].items():
        if backend["type"] == "static":
            _bootstrap_static(backend, config["auth"])
        elif items := list(_items(config, name)):
            _bootstrap_rented(name, config, items)
    return config


def for_head(config: Config, machines: Iterable[tuple[str, Machine]]) -> Config:
    """The configuration that the head reads: it must find itself among the machines, also on an own host."""
    config = copy.deepcopy(config)
    heads = [(*split_node_id(node), machine) for node, machine in machines if machine.carried.is_head]
    life = heads[0][2].tags.get(LAUNCH, "") if heads else ""
    config["provider"]["on_head"] = True
    for name, backend in config["provider"]["backends"].items():
        if backend["type"] == "static":
            backend["seed"] = {native: dict(machine.tags) for own, native, machine in heads if own == name}
            backend["life"] = life
            _bootstrap_static(backend, config["auth"])
    return config


def _check_classes(config: Config, settings: Settings) -> None:
    for name, node_type in config["available_node_types"].items():
        place = f"available_node_types.{name}"
        if not node_type.get("node_config") and not node_type.get("max_workers") and name != config["head_node_type"]:
            continue  # Ray adds two empty node types of its own to every external provider
        candidates = read_candidates(node_type.get("node_config", {}), settings.backends, place=f"{place}.node_config")
        own = node_type.get("resources")
        for candidate in candidates:
            if candidate.resources is not None and own is not None and candidate.resources != own:
                raise SpecError(
                    f"{place}.node_config.candidates: {candidate.name} has {candidate.resources}, and its class {own}",
                    hint="Ray schedules by the class; make another class of it",
                )
        cap = settings.cluster.max_usd_per_hour
        if all(candidate.usd_per_hour > cap for candidate in candidates):
            raise SpecError(
                f"{place}: no candidate costs at most ${cap:g} an hour",
                hint="raise provider.cluster.max_usd_per_hour, or take the class out",
            )


def _check_key(config: Config, settings: Settings) -> None:
    private = config["auth"].get("ssh_private_key")
    rented = [name for name, backend in settings.backends.items() if backend["type"] != "static"]
    if private:
        public_key(private)
    elif len(rented) > 1 or (rented and len(settings.backends) > 1):
        raise SpecError(
            "auth.ssh_private_key is missing", hint="one key opens the machines of all backends; name its file"
        )


def _check_overlay(config: Config, settings: Settings) -> None:
    if settings.overlay is None:
        return
    Overlay.of(settings.overlay)
    for name, backend in settings.backends.items():
        if backend["type"] == "azure" and any(not is_head for _, is_head, _ in _items(config, name)):
            raise SpecError(
                f"provider.backends.{name}: machines of Azure cannot join the overlay",
                hint="Ray makes them from a template without user data; leave them out, or join the networks yourself",
            )


def _items(config: Config, backend: str) -> Iterable[Item]:
    for name, node_type in config["available_node_types"].items():
        for index, candidate in enumerate(node_type.get("node_config", {}).get("candidates", ())):
            if candidate["backend"] == backend:
                yield f"{name}:{index}", name == config["head_node_type"], candidate


def _bootstrap_static(backend: Config, auth: Config) -> None:
    backend.setdefault("ssh_user", auth.get("ssh_user"))
    backend["ssh_private_key"] = auth.get("ssh_private_key")
    backend["ssh_proxy_command"] = auth.get("ssh_proxy_command")


def _bootstrap_rented(name: str, config: Config, items: list[Item]) -> None:
    backend = config["provider"]["backends"][name]
    try:
        single = _single(backend, config, items)
        done = provider_class(name, backend).bootstrap_config(single)
    except TradewindError:
        raise
    except (Exception, SystemExit) as exc:
        _check_region(name, backend)
        error = understand(exc, where=f"provider.backends.{name}").error
        hint = "try again, or check the place of this backend" if isinstance(error, CloudError) else error.hint
        raise type(error)(error.message, hint=hint) from exc
    _copy_back(backend, config, items, done)


def _check_region(name: str, backend: Config) -> None:
    """A region that is none has an address that does not exist, which looks like a cloud that is down.

    Asked when something went wrong, since Amazon may have regions that this boto3 does not know.
    """
    if backend["type"] != "aws":
        return
    import boto3

    known = boto3.session.Session().get_available_regions("ec2")
    if backend["region"] not in known:
        said = (
            f"Amazon has no region {backend['region']!r}, as far as boto3 knows{did_you_mean(backend['region'], known)}"
        )
        raise SpecError(f"provider.backends.{name}.region: {said}")


def _single(backend: Config, config: Config, items: list[Item]) -> Config:
    """A cluster of this backend alone, as its provider of Ray knows it."""
    user = backend.get("ssh_user") or config["auth"]["ssh_user"]
    auth = {**config["auth"], "ssh_user": user}
    node_configs = [candidate.setdefault("node_config", {}) for _, _, candidate in items]
    _give_key(backend, auth, node_configs)
    types = {
        key: {"node_config": copy.deepcopy(candidate["node_config"]), "resources": {}, "max_workers": 0}
        for key, _, candidate in items
    }
    head = next((key for key, is_head, _ in items if is_head), None)
    if head is None:
        head = items[0][0]
        if backend["type"] == "aws":
            types[head]["node_config"] = {**NO_PROFILE, **types[head]["node_config"]}
    return {
        "cluster_name": config["cluster_name"],
        "provider": rays_part(backend),
        "auth": auth,
        "max_workers": 0,
        "file_mounts": {},
        "available_node_types": types,
        "head_node_type": head,
    }


def _give_key(backend: Config, auth: Config, node_configs: list[Config]) -> None:
    private = auth.get("ssh_private_key")
    if private is None:
        return
    if backend["type"] == "aws":
        give_to_aws(node_configs, backend, private)
    if backend["type"] == "gcp":
        give_to_gcp(node_configs, auth["ssh_user"], private)
    if backend["type"] == "azure":
        auth.setdefault("ssh_public_key", azure_public_key(private))


def _copy_back(backend: Config, config: Config, items: list[Item], done: Config) -> None:
    backend.update({key: value for key, value in done["provider"].items() if not key.startswith("_")})
    config["auth"].setdefault("ssh_private_key", done["auth"].get("ssh_private_key"))
    for key, is_head, candidate in items:
        found = done["available_node_types"][key]["node_config"]
        if found.get("IamInstanceProfile") == NO_PROFILE["IamInstanceProfile"]:
            del found["IamInstanceProfile"]
        candidate["node_config"] = {**found, **done.get("head_node", {})} if is_head else found
