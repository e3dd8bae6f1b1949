"""`ray.serve.llm`, as it comes, with an engine of the same law as `echo`: `ray_serve_llm.py EACH_S PORT BATCH_MS`.

Its own engine slot is used (`RAYLLM_VLLM_ENGINE_CLS`), so that everything around the engine is Ray's: HTTP proxy,
ingress, handles. It imports vLLM whatever the engine, so it runs in an environment with vLLM. `BATCH_MS` is its
`stream_batching_interval_ms`: 50 is its default, 0 sends each token at once. Prints its address once it answers.
"""

# ruff: noqa: ARG002 - the signatures are Ray's
from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

MODEL = "echo"
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 2048, "torch_dtype": "bfloat16",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """`EchoEngine`, made when Ray asks for it: its base needs vLLM."""
    if name != "EchoEngine":
        raise AttributeError(name)
    from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionResponse
    from ray.llm._internal.serve.core.engine.protocol import LLMEngine

    class EchoEngine(LLMEngine):
        def __init__(self, llm_config: Any) -> None:
            self._each_s = float(os.environ["ECHO_EACH_S"])

        async def start(self) -> None: ...

        def routing_stats(self) -> dict[str, Any]:
            return {}

        async def resolve_lora(self, model: Any) -> None: ...

        async def reset_prefix_cache(self) -> None: ...

        async def chat(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:  # type: ignore[override]
            body = request.model_dump(exclude_unset=True)
            count = body.get("max_tokens") or 16
            words = body["messages"][-1]["content"].split()
            said = [words[index % len(words)] + " " for index in range(count)]
            if body.get("stream"):
                async for event in _events(said, self._each_s):
                    yield event
            else:
                await asyncio.sleep(self._each_s * count)
                yield ChatCompletionResponse(**_whole(said, len(words)))

        async def completions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:  # type: ignore[override]
            raise NotImplementedError
            yield

        async def embeddings(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:  # type: ignore[override]
            raise NotImplementedError
            yield

        async def transcriptions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:  # type: ignore[override]
            raise NotImplementedError
            yield

    return EchoEngine


async def _events(said: list[str], each_s: float) -> AsyncIterator[str]:
    about = {**_about(), "object": "chat.completion.chunk"}
    for index, word in enumerate(said):
        await asyncio.sleep(each_s)
        reason = "length" if index == len(said) - 1 else None
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": reason, "logprobs": None}
        yield f"data: {json.dumps({**about, 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"


def _whole(said: list[str], prompt: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(said)}
    usage = {"prompt_tokens": prompt, "completion_tokens": len(said), "total_tokens": prompt + len(said)}
    choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": None}
    return {**_about(), "object": "chat.completion", "choices": [choice], "usage": usage}


def _about() -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex[:16]}", "created": int(time.time()), "model": MODEL}


def main() -> None:
    each_s, port, batch_ms = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import ray
    import ray.serve
    from ray.serve.llm import LLMConfig, build_openai_app

    here = Path(__file__)
    environment = {"PYTHONPATH": str(here.parent), "RAYLLM_VLLM_ENGINE_CLS": "ray_serve_llm.EchoEngine"}
    environment |= {"ECHO_EACH_S": str(each_s), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(CONFIG))
        runtime = {"env_vars": environment}
        ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
        ray.serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
        few = {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0.1}}
        config = LLMConfig(
            model_loading_config={"model_id": MODEL, "model_source": folder},
            deployment_config=few,
            placement_group_config={"bundles": [{"CPU": 0.1}]},
            runtime_env=runtime,
            log_engine_metrics=False,
            experimental_configs={"stream_batching_interval_ms": batch_ms},
        )
        ingress = {**few, "autoscaling_config": None}
        app = build_openai_app({"llm_configs": [config], "ingress_deployment_config": ingress})
        ray.serve.run(app, name="llm", route_prefix="/")
        print(f"http://127.0.0.1:{port}", flush=True)
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()
        ray.serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


if __name__ == "__main__":
    main()
