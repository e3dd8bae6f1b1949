"""Endpoints: deployed on Ray Serve, found again through their records."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shlex
import socket
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradewind import progress
from tradewind.clusters import RaySession, connect, is_gone, is_here, is_local, stop, this_process
from tradewind.errors import CapacityError, NotFoundError, RunError, SpecError, TradewindError, did_you_mean
from tradewind.records import EndpointState
from tradewind.registry import Models
from tradewind.serving import state
from tradewind.serving.application import application, fastest_chip
from tradewind.serving.elsewhere import files_of
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.room import check_names, check_room, check_this_machine
from tradewind.specs import ServeSpec
from tradewind.storage import Store

if TYPE_CHECKING:
    import openai
    from ray.serve import Application

STOP_TIMEOUT_S = 30.0
PRELOAD = "tradewind.serving.preload"
"""For the workers of a Ray that starts to serve."""


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

    def replicas(self) -> list[dict[str, Any]]:
        """Its replicas as the front knows them now. Raises RunError when the front does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/replicas", timeout=5) as answer:  # noqa: S310 - our own http URL
                found: list[dict[str, Any]] = json.load(answer)
        except OSError as exc:
            hint = "it may listen for its own machine alone"
            raise RunError(f"nothing answers at {self.url}: {exc}", hint=hint) from exc
        return found

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
        if state.log(self.store, self.name).latest().status == "up":
            _take_down(self.name, alone=False)
            self.mark_down()

    def mark_down(self) -> None:
        """Record that the endpoint is down, unless that is recorded already."""
        state.mark_down(self.store, self.name)


def deploy(store: Store, spec: ServeSpec, session: RaySession) -> Endpoint:
    """Bring an endpoint up and return once it answers. Raises NotFoundError, IntegrityError, SpecError or RunError."""
    files = check(store, spec)
    check_room(spec, files)
    began = time.monotonic()
    holder = this_process() if session.is_own else None
    cluster = None if session.is_own else os.environ.get("RAY_ADDRESS")
    record = state.up(spec, files.reference, process=holder, cluster=cluster)
    with progress.track("deploy endpoint"), quiet():
        try:
            run(application(spec, store, files, is_own=session.is_own, fastest=fastest_chip(spec)), spec.name)
            if session.is_own:
                _check_answers(record.url)
        except BaseException as exc:
            why = _why(spec.name) or str(exc)
            _take_down(spec.name, alone=session.is_own)
            if isinstance(exc, TradewindError) or not isinstance(exc, Exception):
                raise
            raise RunError(f"endpoint {spec.name!r} did not start: {why}") from exc
    phases = {"up": time.monotonic() - began, **_phases(Endpoint(store, record))}
    written = state.log(store, spec.name).append(
        lambda change, writer: record.model_copy(update={"change": change, "writer": writer, "phases": phases})
    )
    return Endpoint(store, written)


def run(app: Application, name: str) -> None:
    """Run an application beside others, without an HTTP proxy of Serve's: each front has its own port."""
    from ray import serve

    serve.start(proxy_location="Disabled")
    serve.run(app, name=name, route_prefix=f"/{name}")


@contextmanager
def quiet() -> Iterator[None]:
    """Serve's own lines and warnings are for its log."""
    import ray.serve  # sets up its logger

    logging.getLogger(ray.serve.__name__).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check(store: Store, spec: ServeSpec) -> ModelFiles:
    """The files that a spec means, once engine, model files, name and port are found to be right."""
    check_names(spec)
    files = files_of(store, spec)
    if is_local() and not spec.targets:
        check_this_machine(spec, files)
        with files.here():  # every file verified, and in the cache of this machine
            pass
    for reference in spec.adapters.values():
        Models(store).get(reference)
    if spec.name in names(store) and (other := find(store, spec.name)).is_up:
        raise SpecError(
            f"endpoint {spec.name!r} is up already, at {other.url}", hint=f"stop it: tw endpoints stop {spec.name}"
        )
    if is_local():
        check_port(spec.host, spec.port)
    return files


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
    return Endpoint(store, state.log(store, name).latest())


def every(store: Store) -> Iterator[Endpoint]:
    """Each endpoint that was ever up in this workspace."""
    return (find(store, name) for name in names(store))


def names(store: Store) -> list[str]:
    return sorted({item.key.split("/")[1] for item in store.list(state.FOLDER)})


def _take_down(name: str, *, alone: bool) -> None:
    """Remove an application, and where nobody else can have one, Serve itself with the last."""
    import ray
    from ray import serve

    if not ray.is_initialized():  # its Ray is gone; Serve would look for any other one on this machine
        return
    if name in serve.status().applications:
        serve.delete(name)
    if alone and not serve.status().applications:
        serve.shutdown()  # type: ignore[no-untyped-call]


def _phases(endpoint: Endpoint) -> dict[str, float]:
    """How the first replica came up; nothing where none is up yet, or where its node is not reached from here."""
    try:
        for one in endpoint.replicas():
            with urllib.request.urlopen(f"{one['url']}/replica", timeout=2) as answer:  # noqa: S310 - our own http URL
                return dict(json.load(answer)["phases"])
    except (OSError, RunError):
        return {}  # told for people alone; a cluster's nodes may well be hidden behind its head
    return {}


def _check_answers(url: str) -> None:
    """Raises RunError when nothing healthy answers at an address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:  # noqa: S310 - our own http URL
            answer.read()
    except OSError as exc:
        raise RunError(f"nothing answers at {url}: {exc}", hint="was Serve started before, on another port?") from exc


def _why(application: str) -> str:
    """What Serve knows of a deployment that does not start: the error that the replica raised."""
    from ray import serve

    status = serve.status().applications.get(application)
    messages = [deployment.message for deployment in status.deployments.values()] if status else []
    lines = [line.strip() for line in "\n".join(messages).splitlines() if "Error" in line]
    return re.sub(r"^tradewind\.errors\.\w+: ", "", lines[-1]) if lines else ""


def _bind_fails(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
