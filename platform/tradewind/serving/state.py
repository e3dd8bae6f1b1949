"""What is written down of an endpoint: a log of its states, of which the newest holds."""

from __future__ import annotations

from tradewind.errors import NotFoundError
from tradewind.records import EndpointState, ProcessName
from tradewind.specs import ServeSpec
from tradewind.storage import RecordLog, Store

FOLDER = "endpoints"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - a choice of the user's, named here


def log(store: Store, name: str) -> RecordLog[EndpointState]:
    return RecordLog(store, f"{FOLDER}/{name}", EndpointState)


def up(
    spec: ServeSpec,
    reference: str,
    *,
    process: ProcessName | None = None,
    cluster: str | None = None,
    address: str = "127.0.0.1",
) -> EndpointState:
    """What is known once an endpoint is up. `address` is where one that listens at every address is reached."""
    host = address if spec.host in EVERY_ADDRESS else spec.host
    return EndpointState(
        name=spec.name,
        change=0,
        writer="",
        status="up",
        url=f"http://{host}:{spec.port}",
        model=reference,
        engine="elsewhere" if spec.targets else spec.engine,
        process=process,
        cluster=cluster,
        spec=spec.model_dump(mode="json"),
        parents=(f"model:{reference}",),
    )


def write(store: Store, state: EndpointState) -> EndpointState:
    """Append a state, unless the newest says the same."""
    states = log(store, state.name)
    try:
        newest = states.latest()
    except NotFoundError:
        newest = None
    if newest and _told(newest) == _told(state):
        return newest
    return states.append(lambda change, writer: state.model_copy(update={"change": change, "writer": writer}))


def mark_down(store: Store, name: str) -> None:
    """Write that an endpoint is down, unless that is written already."""
    states = log(store, name)
    state = states.latest()
    if state.status == "up":
        states.append(
            lambda change, writer: state.model_copy(
                update={"change": change, "writer": writer, "status": "down", "parents": (state.id,)}
            )
        )


def _told(state: EndpointState) -> tuple[object, ...]:
    return state.status, state.url, state.model, state.process, state.cluster, state.spec
