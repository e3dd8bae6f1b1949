"""From the settings of a backend to a provider of Ray that answers in bounded time.

Ray's AWS provider asks five times for a machine that is sold out, and has a list that does not come asked for again
twelve times, with pauses that double. Here, the next candidate is the second try, and the machines last seen are the
answer meanwhile: so each zone is asked once (measured against moto: 0.35 s less of a failover), and a list twice.
"""

from __future__ import annotations

from typing import Any

from tradewind.clusters.hybrid.backend import Backend
from tradewind.clusters.hybrid.failures import understand
from tradewind.clusters.hybrid.settings import OWN_KEYS, Settings
from tradewind.errors import SpecError, TradewindError

RETRIES = 1


def connect(name: str, settings: Settings, cluster: str) -> Backend:
    """Raises SpecError when an SDK is missing, or what the SDK says of the settings."""
    written = settings.backends[name]
    return Backend(
        name=name,
        kind=written["type"],
        provider=_provider(name, written, cluster),
        ssh_ip=written.get("ssh_ip", "internal"),
        ssh_user=written.get("ssh_user"),
    )


def provider_class(name: str, written: dict[str, Any]) -> Any:
    """The class of Ray for a backend. Raises SpecError when its SDK is not installed."""
    from ray.autoscaler._private.providers import _get_node_provider_cls

    try:
        return _get_node_provider_cls(written)
    except ImportError as exc:
        raise SpecError(
            f"provider.backends.{name}: the SDK of {written['type']} cannot be loaded: {exc}",
            hint=f"pip install 'tradewind[{written['type']}]', here and on the head",
        ) from exc


def rays_part(written: dict[str, Any]) -> dict[str, Any]:
    """A backend's settings as Ray's own provider takes them."""
    return {key: value for key, value in written.items() if key not in OWN_KEYS}


def _provider(name: str, written: dict[str, Any], cluster: str) -> Any:
    if written["type"] == "static":
        from tradewind.clusters.hybrid.static import StaticNodeProvider

        return StaticNodeProvider(written, cluster, name=name)
    made = provider_class(name, written)
    if written["type"] == "aws":
        _ask_once()
    try:
        return made(rays_part(written), cluster)
    except TradewindError:
        raise
    except Exception as exc:
        raise understand(exc, where=f"provider.backends.{name}").error from exc


def _ask_once() -> None:
    from ray.autoscaler._private.aws import node_provider

    vars(node_provider).update(BOTO_CREATE_MAX_RETRIES=1, BOTO_MAX_RETRIES=RETRIES)
