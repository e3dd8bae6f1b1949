"""A replica of ours beside bare `vllm serve` on one GPU: the Llama-8B shape with random weights, in one call.

    python3 benchmarks/gpu_serving.py [--prompts 1000] [--rounds 2] [--rates inf 32] [--without-ray]

Both get vLLM's same settings and are asked by `vllm bench serve`: 512 random tokens in, 128 out. They take the whole
chip in turn: bare, ours, bare, ours. Needs vLLM 0.26 to 0.29 and, unless told otherwise, Ray. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = 0.98
NAME, CONTEXT, PORT = "llama-8b-shape", 8192, 8123
IN, OUT = 512, 128
VLLM: dict[str, Any] = {
    "load_format": "dummy",
    "max_model_len": CONTEXT,
    "gpu_memory_utilization": 0.9,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "enable_prefix_caching": False,
}
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 128256, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
FOUND = {
    "output_tokens_per_s": r"Output token throughput \(tok/s\): +([\d.]+)",
    "requests_per_s": r"Request throughput \(req/s\): +([\d.]+)",
    "ttft_p50_ms": r"Median TTFT \(ms\): +([\d.]+)",
    "ttft_p99_ms": r"P99 TTFT \(ms\): +([\d.]+)",
    "itl_p50_ms": r"Median ITL \(ms\): +([\d.]+)",
    "successful": r"Successful requests: +(\d+)",
}


def write_model(folder: Path, config: dict[str, Any]) -> None:
    """A configuration and a tokenizer of words `w4` to the size of the vocabulary; no weights."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    special = ["<|begin|>", "<|end|>", "<unk>", "<pad>"]
    words = special + [f"w{number}" for number in range(len(special), config["vocab_size"])]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=special[2]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": special[0], "eos_token": special[1], "unk_token": special[2], "pad_token": special[3]}
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config["max_position_embeddings"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(plain | named))
    (folder / "config.json").write_text(json.dumps(config))


@contextlib.contextmanager
def bare(model: Path, log: Path) -> Iterator[str]:
    """`vllm serve` with the same settings, as a process of its own."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in VLLM.items() if not isinstance(value, bool)]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *flags]
    switches = ["--no-enable-prefix-caching", "--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(PORT)]
    with log.open("w") as out:
        server = subprocess.Popen([*command, *switches], stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield until_healthy(f"http://127.0.0.1:{PORT}", server)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


@contextlib.contextmanager
def ours(model: Path, log: Path, *, in_ray: bool) -> Iterator[str]:
    """A replica in a process of its own, by itself or as an endpoint on Ray Serve; its own port either way."""
    words = [sys.executable, __file__, "--serve", str(model), *([] if in_ray else ["--without-ray"])]
    with log.open("w") as out:
        server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=out, start_new_session=True, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            with log.open("a") as out:
                out.write(line)
            if line.startswith("URL "):
                yield until_healthy(line.split()[1], server)
                return
        raise RuntimeError(f"the replica did not start, see {log}: {log.read_text()[-2000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        try:
            server.wait(90)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def serve(model: Path, *, in_ray: bool, chips: int) -> None:
    """What `ours` starts. Prints its address and waits for SIGTERM."""
    import threading

    from tradewind.specs import ServeSpec
    from tradewind.storage import open_store

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    folder = tempfile.mkdtemp(prefix="tw-gpu-serving-")
    settings = {name: value for name, value in VLLM.items() if name != "max_num_seqs"}
    spec = ServeSpec.of(
        name=NAME, model=str(model), engine="vllm", precision="bfloat16", engine_settings=settings, port=PORT + 1,
        max_concurrency=VLLM["max_num_seqs"], queue=4096, request_timeout_s=600, chips_per_replica=chips,
    )  # fmt: skip
    if not in_ray:
        from tradewind.serving.model_files import ModelFiles
        from tradewind.serving.replica import ReplicaPlan, Running

        class Nobody:
            def report(self, report: Any) -> None:
                """There is no front."""

            def leave(self, replica: str) -> None:
                """There is no front."""

        store = open_store(folder)
        running = Running(ReplicaPlan(spec, store, ModelFiles.of(store, spec.model)), name="one", front=Nobody())
        print("phases", json.dumps(running.phases))
        print("URL", running.url, flush=True)
        over.wait()
        running.drain(5)
        return
    import tradewind as tw

    began = time.monotonic()
    with tw.Workspace(folder) as workspace:
        endpoint = workspace.serve(spec)
        print("ready_s", round(time.monotonic() - began, 1))
        with urllib.request.urlopen(f"{endpoint.url}/replicas") as answer:  # noqa: S310 - our own URL
            board = json.load(answer)
        print("board", json.dumps(board))
        print("URL", re.findall(r"http://[^\"]+", json.dumps(board))[0], flush=True)
        over.wait()


def until_healthy(url: str, server: subprocess.Popen[Any], limit_s: float = 240) -> str:
    end = time.monotonic() + limit_s
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()  # noqa: S310 - our own URL
            return url
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"nothing healthy at {url}")


def ask(url: str, model: Path, *, prompts: int, rate: str, seed: int) -> dict[str, float]:
    asked = (
        f"--backend openai --base-url {url} --model {NAME} --tokenizer {model} --dataset-name random"
        f" --random-input-len {IN} --random-output-len {OUT} --num-prompts {prompts} --request-rate {rate}"
        f" --ignore-eos --seed {seed} --percentile-metrics ttft,itl --metric-percentiles 50,99"
    )
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve", *asked.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = {name: re.search(pattern, done.stdout) for name, pattern in FOUND.items()}
    if not all(found.values()):
        raise RuntimeError((done.stdout + done.stderr)[-3000:])
    return {name: float(match.group(1)) for name, match in found.items() if match}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rates", nargs="*", default=["inf", "32"])
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--chips", type=int, default=1, help="of a replica; 0 to try this on a processor")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()) / "gpu_serving")
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, in_ray=not asked.without_ray, chips=asked.chips)
        return
    model = asked.logs / "model"
    write_model(model, CONFIG)
    rows: dict[str, dict[str, list[dict[str, float]]]] = {"bare": {}, "ours": {}}
    for number in range(asked.rounds):
        servers = {
            "bare": bare(model, asked.logs / f"bare-{number}.log"),
            "ours": ours(model, asked.logs / f"ours-{number}.log", in_ray=not asked.without_ray),
        }
        for name, server in servers.items():
            began = time.monotonic()
            with server as url:
                print(f"{name} ready after {time.monotonic() - began:.1f} s", flush=True)
                ask(url, model, prompts=64, rate="inf", seed=99)
                for rate in asked.rates:
                    count = asked.prompts if rate == "inf" else int(float(rate) * 15)
                    row = ask(url, model, prompts=count, rate=rate, seed=number)
                    rows[name].setdefault(rate, []).append(row)
                    print(name, rate, json.dumps(row), flush=True)
    best = {name: median(row["output_tokens_per_s"] for row in rates["inf"]) for name, rates in rows.items()}
    target = {"value": round(best["ours"] / best["bare"], 4), "target": TARGET, "better": "higher"}
    print(
        json.dumps({"targets": {"output_tokens_of_bare_vllm": target}, "rows": rows, "vllm": metadata.version("vllm")})
    )


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    main()
