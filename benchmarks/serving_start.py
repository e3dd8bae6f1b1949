"""How long a replica takes to start, by phase: the first one in a new Ray, and further ones beside it.

    python benchmarks/serving_start.py                                      # echo and transformers
    python benchmarks/serving_start.py --vllm-python ~/vllm/bin/python      # vllm too, and ray.serve.llm beside it

*Cold* is the first replica of an endpoint on a new Ray of our own, from `serve` to the first token through the front;
Ray's start is told apart. *Warm* is one replica more of that endpoint, on the same node, from the new wish to the
first token at its own port. *Bare* is the engine's own server as a process, from its start to the first token. Files
are in the page cache throughout. Processor seconds are of the replica's process and its children until then. *Waited*
is how long its two busiest threads were ready to run and had no processor, by Linux's own count: on a machine that
does nothing else a start takes about as much less. Prints each start, and as its last line everything as JSON; the
targets are medians of what was measured. docs/benchmarks/serving.md has results.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # this file's folder has modules of names that are not meant

from benchmarks.machine import describe_machine, load
from tests.serving.listening import process_at

if TYPE_CHECKING:
    from tradewind.serving import Endpoint
    from tradewind.specs import ServeSpec

TARGETS_S = {"transformers": 6.0, "vllm": 20.0}
TIMEOUT_S = 400.0
SHOWN = ("placed", "worker", "fetch", "import", "configure", "deserialise", "first_token", "engine", "http", "rest")
SIZES: dict[str, Any] = {
    "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
Row = dict[str, Any]


def main() -> None:
    given = _arguments()
    if given.inside:
        print(json.dumps(_starts(given.inside, given.model, given.warm)))
    elif given.bare:
        _serve_bare(given.bare, given.model)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _measure(_write_model(Path(folder) / "model"), given)


def _measure(model: Path, given: argparse.Namespace) -> None:
    rows: list[Row] = []
    for name in given.engines.split(","):
        rows += _told(name, "bare", [_bare(name, sys.executable, model)])
        rows += _told(name, "", _in_ray(name, sys.executable, model, given.warm))
    if given.vllm_python:
        rows += _told("vllm", "bare", [_bare("vllm", given.vllm_python, model)])
        rows += _told("vllm", "", _in_ray("vllm", given.vllm_python, model, given.warm))
        rows += _told("ray.serve.llm", "", _peer(given.vllm_python, model))
    targets = {
        f"{name}_warm_s": {"value": _median(rows, name, "warm"), "target": target, "better": "lower"}
        for name, target in TARGETS_S.items()
        if any(row["name"] == name for row in rows)
    }
    peers = {f"{row['name']} {row['kind']}": row["s"] for row in rows if row["kind"] == "bare" or "." in row["name"]}
    versions = {name: metadata.version(name) for name in ("ray", "torch", "transformers")}
    print(json.dumps({"targets": targets, "peers": peers, "rows": rows, **versions, "machine": describe_machine()}))


def _told(name: str, kind: str, rows: list[Row]) -> list[Row]:
    whole = [{"name": name, "kind": kind, "load": load(), **row} for row in rows]
    for row in whole:
        phases = ", ".join(f"{phase} {row['phases'][phase]:.2f}" for phase in SHOWN if phase in row.get("phases", {}))
        spent = f"{row['processor_s']:.2f} s of processor, {row['waited_s']:.2f} waited" if "waited_s" in row else ""
        print(f"{name:14} {row['kind']:5} {row['s']:6.2f} s  {spent:36} {phases}  load {row['load']}", flush=True)
    return whole


def _median(rows: list[Row], name: str, kind: str) -> float:
    found: float = median(row["s"] for row in rows if row["name"] == name and row["kind"] == kind)
    return round(found, 2)


# In Ray: this file in the engine's environment


def _in_ray(name: str, python: str, model: Path, warm: int) -> list[Row]:
    found: list[Row] = _last_line([python, __file__, "--inside", name, "--model", str(model), "--warm", str(warm)])
    return found


def _peer(python: str, model: Path) -> list[Row]:
    """`ray.serve.llm` with vLLM's own engine. Not having come up is a result too."""
    peer = Path(__file__).parent / "peers" / "ray_serve_llm_start.py"
    try:
        found: list[Row] = _last_line([python, str(peer), str(model), str(_free_port())])
    except (RuntimeError, subprocess.TimeoutExpired) as exc:
        print(f"ray.serve.llm did not start: {exc}", flush=True)
        return []
    return found


def _last_line(command: list[str]) -> Any:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=_environment(), cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _environment() -> dict[str, str]:
    """With byte code, whatever the shell says, and with tradewind where another environment has it not."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT / "platform")}


def _starts(engine: str, model: Path, warm: int) -> list[Row]:
    """The cold start of an endpoint, and so many warm ones, in this process's Ray."""
    import tradewind as tw
    from tradewind.clusters import connect
    from tradewind.serving import PRELOAD, free_port
    from tradewind.specs import ServeSpec

    more = {"max_model_len": 512} if engine == "vllm" else {}
    with tempfile.TemporaryDirectory() as folder, tw.Workspace(folder) as place:
        spec = ServeSpec.of(
            name="start", model=str(model), engine=engine, port=free_port(18000), drain_s=1, engine_settings=more
        )
        began = time.monotonic()
        connect(workers=1 + warm, preload=PRELOAD)
        rows = [{"kind": "ray", "s": time.monotonic() - began, "load": load()}]
        endpoint: Endpoint | None = None

        def deploy() -> None:
            nonlocal endpoint
            endpoint = place.serve(spec)

        rows.append({"kind": "cold", **_timed(deploy, lambda: endpoint, set(), through_front=True)})
        for count in range(2, 2 + warm):
            time.sleep(1)
            assert endpoint is not None
            there = {one["url"] for one in endpoint.replicas()}
            wish = spec.model_copy(update={"replicas": count})
            rows.append({"kind": "warm", **_timed(lambda w=wish: _deploy_more(place, w), lambda: endpoint, there)})  # type: ignore[misc]
        assert endpoint is not None
        endpoint.stop()
    return rows


def _deploy_more(place: Any, spec: ServeSpec) -> None:
    """The same endpoint with another number of replicas: those that are there stay."""
    from tradewind.serving.application import application
    from tradewind.serving.elsewhere import files_of
    from tradewind.serving.endpoint import quiet, run

    with quiet():
        run(application(spec, place.store, files_of(place.store, spec), is_own=True), spec.name)


def _timed(
    wish: Callable[[], None],
    endpoint: Callable[[], Endpoint | None],
    there: set[str],
    *,
    through_front: bool = False,
) -> Row:
    """From a wish until the first token of a replica that was not there."""
    at, began = time.time(), time.monotonic()
    wishing = threading.Thread(target=wish)
    wishing.start()
    replica = None
    while replica is None:
        up = endpoint()
        if time.monotonic() - began > TIMEOUT_S or not (up or wishing.is_alive()):
            raise RuntimeError("no replica became ready")
        new = [one for one in up.replicas() if one["status"] == "ready" and one["url"] not in there] if up else []
        if new:
            replica = new[0]
        else:
            time.sleep(0.02)
    up = endpoint()
    assert up is not None
    ready = time.monotonic() - began
    _ask(up.url if through_front else replica["url"])
    whole = time.monotonic() - began
    wishing.join()
    process = process_at(replica["url"])
    row = {"s": round(whole, 3), **_spent(process), "load": load()}
    return {**row, "phases": _phases(replica["url"], ready, whole, process.create_time() - at)}


def _phases(url: str, ready: float, whole: float, made: float) -> dict[str, float]:
    """Seconds of each phase. The worker's end where the replica's own begin; `engine` is what its phases leave."""
    with urllib.request.urlopen(f"{url}/replica") as answer:  # noqa: S310 - our own URL
        own: dict[str, float] = json.load(answer)["phases"]
    told = {name: seconds for name, seconds in own.items() if name not in {"fetch", "engine", "http"}}
    constructed = ready - own["fetch"] - own["engine"] - own["http"]
    placed = max(0.0, made)
    phases = {"placed": placed, "worker": constructed - placed, "fetch": own["fetch"], **told, "http": own["http"]}
    phases["engine"] = told.get("engine", 0.0) or own["engine"] - sum(told.values())
    return {name: round(seconds, 3) for name, seconds in {**phases, "rest": whole - ready}.items()}


def _spent(process: psutil.Process) -> dict[str, float]:
    family = [process, *process.children(recursive=True)]
    processor_s = sum(times.user + times.system for times in (one.cpu_times() for one in family))
    return {"processor_s": round(processor_s, 2), "waited_s": round(_waited_s(process), 2)}


def _waited_s(process: psutil.Process) -> float:
    """From `schedstat` of each thread: nanoseconds on a processor, and ready without one (proc(5))."""
    threads = [file.read_text().split() for file in Path(f"/proc/{process.pid}/task").glob("*/schedstat")]
    busiest = sorted(((int(ran), int(waited)) for ran, waited, _ in threads), reverse=True)[:2]
    return sum(waited for _, waited in busiest) / 1e9


def _ask(url: str) -> None:
    """One token."""
    with urllib.request.urlopen(f"{url}/v1/models", timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own URL
        model: str = json.load(answer)["data"][0]["id"]
    body = json.dumps({"model": model, "prompt": "w7 w8", "max_tokens": 1}).encode()
    asked = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310
        answer.read()


# Bare: the engine's own server


def _bare(name: str, python: str, model: Path) -> Row:
    port = _free_port()
    command = [python, __file__, "--bare", name, "--model", str(model), "--port", str(port)]
    environment = _environment()
    if name == "vllm":
        command, environment = _vllm_serve(python, model, port), environment | _vllm_environment()
    began = time.monotonic()
    server = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                _ask(f"http://127.0.0.1:{port}")
            except OSError as exc:
                if server.poll() is not None or time.monotonic() - began > TIMEOUT_S:
                    raise RuntimeError(f"{' '.join(command)} does not answer") from exc
                time.sleep(0.02)
            else:
                whole = time.monotonic() - began
                return {"s": round(whole, 3), **_spent(psutil.Process(server.pid))}
    finally:
        server.terminate()
        server.wait()


def _vllm_serve(python: str, model: Path, port: int) -> list[str]:
    """With what our engine tells vLLM for a processor, so that the settings are the same."""
    from tradewind.engines.engine import EngineSettings
    from tradewind.engines.vllm_settings import arguments

    settings = EngineSettings(names=("start",), max_concurrency=8, more={"max_model_len": 512})
    flags = []
    for name, value in arguments(model, settings, cpu=True).items():
        flag = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [value]
        flags += ([flag] if value else []) if isinstance(value, bool) else [flag, *map(str, values)]
    words = [python, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    return [*words, *flags]


def _vllm_environment() -> dict[str, str]:
    from tradewind.engines.vllm_settings import CPU_ENVIRONMENT, ENVIRONMENT

    return ENVIRONMENT | CPU_ENVIRONMENT


def _serve_bare(name: str, model: Path) -> None:
    import uvicorn

    from tradewind.engines import EngineSettings, engine

    served = engine(name)
    served.start(model, EngineSettings(names=("start",)))
    uvicorn.run(served.app(), host="127.0.0.1", port=int(sys.argv[-1]), access_log=False, log_level="warning")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _write_model(folder: Path) -> Path:
    """A Llama of 3 million random weights: what is measured is starting, not reading weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(7)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(1000)}, unk_token="w2"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=words, bos_token="w0", eos_token="w1", unk_token="w2").save_pretrained(folder)  # noqa: S106
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="echo,transformers")
    parser.add_argument("--warm", type=int, default=2, help="further replicas of each engine")
    parser.add_argument("--vllm-python", help="interpreter of an environment with vLLM and ray[serve]")
    for name in ("--inside", "--bare", "--port"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
