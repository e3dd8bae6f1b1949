"""The front of an application: it also writes down that the endpoint is up, and has its model fetched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tradewind.serving import state
from tradewind.serving.elsewhere import Elsewhere
from tradewind.serving.front.deployment import Front
from tradewind.serving.front.settings import FrontSettings
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.prefetch import prefetch
from tradewind.specs import ServeSpec
from tradewind.storage import open_store


@dataclass(frozen=True)
class Wish:
    """What an endpoint is to be, as plain data: a new one reaches a front that goes on."""

    spec: dict[str, Any]
    model: str
    """The version, or the URL."""
    workspace: str
    is_recorded: bool
    """Its front writes its state. Where `tw serve` has deployed it, that does."""

    def told(self) -> dict[str, Any]:
        return asdict(self)


class Entry(Front):
    """The replicas are bound to it so that they belong to its application; it reaches them by itself."""

    def __init__(self, settings: FrontSettings, *behind: Any) -> None:
        self._wish: Wish | None = None
        super().__init__(settings)
        self._meters = [one.metered(self) for one in behind if isinstance(one, Elsewhere)]

    def reconfigure(self, told: dict[str, Any]) -> None:
        """Serve calls it once the front listens, and again for each new wish, like a new version of the model."""
        import ray
        from ray import serve

        self._wish = wish = Wish(**told)
        self._application = serve.get_replica_context().app_name
        spec, store = ServeSpec.of(**wish.spec), open_store(wish.workspace)
        if wish.is_recorded:
            cluster = ray.get_runtime_context().gcs_address
            address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            state.write(store, state.up(spec, wish.model, cluster=cluster, address=address))
        if spec.prefetch:
            prefetch(spec, store, ModelFiles.of(store, wish.model))

    def __del__(self) -> None:
        super().__del__()
        for meter in getattr(self, "_meters", []):
            meter.stop()
        wish = getattr(self, "_wish", None)
        if wish and wish.is_recorded and self._is_the_end():
            state.mark_down(open_store(wish.workspace), wish.spec["name"])

    def _is_the_end(self) -> bool:
        """Of the endpoint, and not of a front that another one follows."""
        from ray import serve

        status = serve.status().applications.get(self._application)
        return status is None or status.status == "DELETING"
