"""Endpoints: deployed on Ray Serve, found again through their records."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import socket
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradewind import progress
from tradewind.clusters import RaySession, connect, is_gone, is_here, is_local, stop, this_process
from tradewind.engines import ENGINES
from tradewind.errors import CapacityError, NotFoundError, RunError, SpecError, did_you_mean
from tradewind.ledger import this_team
from tradewind.records import EndpointState
from tradewind.registry import Models
from tradewind.serving.replica import Replica
from tradewind.specs import ServeSpec
from tradewind.storage import RecordLog, Store

if TYPE_CHECKING:
    import openai

FOLDER = "endpoints"
STOP_TIMEOUT_S = 30.0
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - a choice of the user's, named here


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as its newest record tells it."""

    store: Store
    record: EndpointState

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def url(self) -> str:
        return self.record.url

    @property
    def is_up(self) -> bool:
        """False also when the process that held it is gone without a word."""
        holder = self.record.process
        return self.record.status == "up" and not (holder and is_gone(holder))

    def client(self) -> openai.OpenAI:
        """OpenAI's own client, pointed here."""
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="not-needed", max_retries=0)

    def curl(self, prompt: str = "def ") -> str:
        """A command line that asks for a completion."""
        body = json.dumps({"model": self.record.model, "prompt": prompt, "max_tokens": 48})
        return f"curl {self.url}/v1/completions -H 'Content-Type: application/json' -d {shlex.quote(body)}"

    def stop(self) -> None:
        """Take the endpoint down. Raises NotFoundError when it is not up, SpecError when another machine holds it."""
        holder = self.record.process
        if not self.is_up:
            self.mark_down()
            raise NotFoundError(f"endpoint {self.name!r} is not up", hint="tw endpoints list shows which are")
        if holder is None and os.environ.get("RAY_ADDRESS") != self.record.cluster:
            raise SpecError(
                f"endpoint {self.name!r} runs on the cluster at {self.record.cluster}",
                hint=f"set RAY_ADDRESS={self.record.cluster}",
            )
        if holder is None or holder == this_process():
            connect().close()
            _take_down(self.name, alone=holder is not None)
        elif not is_here(holder):
            raise SpecError(f"endpoint {self.name!r} runs on {holder.host}", hint="stop it there")
        else:
            stop(holder, timeout_s=STOP_TIMEOUT_S)
        self.mark_down()

    def drain(self) -> None:
        """Let the replicas finish and write their last usage, where the Ray ends right after. Nothing if it is down."""
        if _log(self.store, self.name).latest().status == "up":
            _take_down(self.name, alone=False)
            self.mark_down()

    def mark_down(self) -> None:
        """Record that the endpoint is down, unless that is recorded already."""
        log = _log(self.store, self.name)
        if log.latest().status == "up":
            log.append(
                lambda change, writer: self.record.model_copy(
                    update={"change": change, "writer": writer, "status": "down", "parents": (self.record.id,)}
                )
            )


def deploy(store: Store, spec: ServeSpec, session: RaySession) -> Endpoint:
    """Bring an endpoint up and return once it answers. Raises NotFoundError, IntegrityError, SpecError or RunError."""
    from ray import serve
    from ray.exceptions import RayError

    model = check(store, spec)
    _check_free()
    url = f"http://{'127.0.0.1' if spec.host in EVERY_ADDRESS else spec.host}:{spec.port}"
    with progress.track("deploy endpoint"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(
            http_options={"host": spec.host, "port": spec.port, "request_timeout_s": spec.request_timeout_s},
            proxy_location="HeadOnly",
        )
        try:
            replica = Replica(spec=spec, store=store, model=model, subject=f"endpoint:{spec.name}", team=this_team())
            num_cpus = 0 if session.is_own else 1
            serve.run(_application(replica, num_cpus=num_cpus), name=spec.name, route_prefix="/")
            if session.is_own:
                _check_answers(url)
        except (RuntimeError, RayError, RunError) as exc:
            why = _why(spec.name) or str(exc)
            _take_down(spec.name, alone=session.is_own)
            raise RunError(f"endpoint {spec.name!r} did not start: {why}") from exc
    record = _log(store, spec.name).append(
        lambda change, writer: EndpointState(
            name=spec.name,
            change=change,
            writer=writer,
            status="up",
            url=url,
            model=model,
            engine=spec.engine,
            process=this_process() if session.is_own else None,
            cluster=None if session.is_own else os.environ.get("RAY_ADDRESS"),
            spec=spec.model_dump(mode="json"),
            parents=(f"model:{model}",),
        )
    )
    return Endpoint(store, record)


def check(store: Store, spec: ServeSpec) -> str:
    """The model version that a spec means, once engine, model files, name and port are found to be right."""
    ENGINES[spec.engine]
    model = Models(store).get(spec.model)
    with model.linked():  # every file verified, and in the cache of this machine
        pass
    if spec.name in names(store) and (other := find(store, spec.name)).is_up:
        raise SpecError(
            f"endpoint {spec.name!r} is up already, at {other.url}", hint=f"stop it: tw endpoints stop {spec.name}"
        )
    if is_local():
        check_port(spec.host, spec.port)
    return model.reference


def check_port(host: str, port: int) -> None:
    """Raises SpecError when nothing can listen there: the port is taken, or the address is not this machine's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as exc:
            raise SpecError(f"port {port} needs more rights", hint="choose one above 1023 with --port") from exc
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise SpecError(f"port {port} on {host} is in use", hint=_another_port(port)) from exc
            hint = "127.0.0.1 is this machine alone, 0.0.0.0 everyone"
            raise SpecError(f"cannot listen on {host}: {exc.strerror}", hint=hint) from exc


def _another_port(taken: int) -> str:
    try:
        return f"choose another: --port {free_port(taken + 1)}"
    except CapacityError:
        return "choose a lower one"


def free_port(first: int = 8000) -> int:
    """The first port from `first` on that is free on this machine."""
    for port in range(first, 65536):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and not _bind_fails(port):
                return port
    raise CapacityError(f"no free port from {first} on")


def find(store: Store, name: str) -> Endpoint:
    """An endpoint by name. Raises NotFoundError with the nearest name."""
    known = names(store)
    if name not in known:
        raise NotFoundError(f"no endpoint named {name!r}{did_you_mean(name, known)}")
    return Endpoint(store, _log(store, name).latest())


def every(store: Store) -> Iterator[Endpoint]:
    """Each endpoint that was ever up in this workspace."""
    return (find(store, name) for name in names(store))


def names(store: Store) -> list[str]:
    return sorted({item.key.split("/")[1] for item in store.list(FOLDER)})


def _take_down(name: str, *, alone: bool) -> None:
    """Remove an application; where nobody else can have one, all of Serve with it, which frees the port."""
    from ray import serve

    if alone:
        serve.shutdown()  # type: ignore[no-untyped-call]
    else:
        serve.delete(name)


def _check_free() -> None:
    """Raises SpecError when this Ray serves something already: its HTTP proxy has one port and one root."""
    from ray import serve

    if others := sorted(serve.status().applications):
        raise SpecError(
            f"this Ray serves {', '.join(others)} already, and a Ray has room for one endpoint",
            hint="stop that one, or serve from another program: tw serve",
        )


def _check_answers(url: str) -> None:
    """Raises RunError when nothing healthy answers at an address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:  # noqa: S310 - our own http URL
            answer.read()
    except OSError as exc:
        raise RunError(f"nothing answers at {url}: {exc}", hint="was Serve started before, on another port?") from exc


def _application(replica: Replica, *, num_cpus: int) -> Any:
    """On a Ray of our own a replica reserves no processor: training there would wait for it without end."""
    from ray import serve

    @serve.deployment(
        name="Replica",
        num_replicas=replica.spec.replicas,
        max_ongoing_requests=replica.spec.max_concurrency,
        ray_actor_options={"num_cpus": num_cpus},
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=20,  # answers that have begun may end, and their usage is written
        health_check_period_s=5,
    )
    @serve.ingress(lambda: replica.app())  # Serve takes a function for a maker of apps, and a method for an app
    class Served:
        """Everything is in the ASGI app."""

    return Served.bind()  # type: ignore[attr-defined]


def _why(application: str) -> str:
    """What Serve knows of a deployment that does not start: the error that the replica raised."""
    from ray import serve

    status = serve.status().applications.get(application)
    messages = [deployment.message for deployment in status.deployments.values()] if status else []
    lines = [line.strip() for line in "\n".join(messages).splitlines() if "Error" in line]
    return lines[-1] if lines else ""


def _log(store: Store, name: str) -> RecordLog[EndpointState]:
    return RecordLog(store, f"{FOLDER}/{name}", EndpointState)


def _bind_fails(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
