"""What the HTTP API takes: the fields of OpenAI's requests that are honoured, each with its bounds.

A field that is not honoured is refused by name, so that nothing is silently left out, unless its value asks for
nothing: clients send `logprobs: null` or `frequency_penalty: 0` with every request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.functional_validators import AfterValidator

from tradewind.engines.engine import Sampling

ASKS_NOTHING: dict[str, tuple[Any, ...]] = {
    "best_of": (None, 1),
    "echo": (None, False),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "min_p": (None, 0),
    "parallel_tool_calls": (None, True, False),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "response_format": (None, {"type": "text"}),
    "store": (None, False),
    "suffix": (None,),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_k": (None, 0, -1),
    "top_logprobs": (None, 0),
}
"""Values with which a field that is not honoured changes nothing."""


def _whole_text(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a lone surrogate is half a character")  # JSON can say it, no tokenizer takes it
    return text


Text = Annotated[str, AfterValidator(_whole_text)]
Filled = Annotated[Text, Field(min_length=1)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """Every event carries the usage so far, as vLLM's do."""


class Asked(BaseModel):
    """What all requests have."""

    model_config = ConfigDict(extra="forbid")

    model: str
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_nothing(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: value for name, value in values.items() if name in cls.model_fields or not _asks_nothing(name, value)
        }


def _asks_nothing(name: str, value: Any) -> bool:
    """JSON's `false` and 0 are two things, though Python says they are equal."""
    nothing = ASKS_NOTHING.get(name, ())
    return any(isinstance(value, bool) is isinstance(one, bool) and value == one for one in nothing)


class GenerationRequest(Asked):
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    stop: Text | list[Text] | None = None
    n: Literal[1] | None = 1
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False

    @field_validator("temperature", "top_p", mode="before")
    @classmethod
    def _null_is_the_default(cls, value: Any) -> Any:
        return 1.0 if value is None else value

    def sampling(self, max_tokens: int) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            max_tokens,
            self.temperature,
            self.top_p,
            tuple(filter(None, stop)),
            self.seed,
            ignore_eos=self.ignore_eos,
            whole=not self.stream,
        )


class CompletionRequest(GenerationRequest):
    prompt: Filled | Annotated[list[Text], Field(min_length=1)]
    max_tokens: int = Field(default=16, ge=1)

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class Message(BaseModel):
    """A message; its template decides what it makes of further fields, like `name` or `reasoning_content`."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(min_length=1)]
    content: Text | list[dict[str, Any]] | None = None

    @field_validator("content")
    @classmethod
    def _is_text(cls, value: str | list[dict[str, Any]] | None) -> str | None:
        return value if value is None or isinstance(value, str) else "".join(_texts(value))


def _texts(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part.get("type") != "text":
            raise ValueError(f"this model reads text, and a part of a message is {part.get('type')!r}")
        if not isinstance(part.get("text"), str):
            raise ValueError("a part of kind 'text' has no text")
        yield _whole_text(part["text"])


class ChatRequest(GenerationRequest):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: int | None = Field(default=None, ge=1)
    """None is as many as the context has room for."""
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def plain(self) -> list[dict[str, Any]]:
        return [message.model_dump(exclude_none=True) for message in self.messages]


class EmbeddingRequest(Asked):
    input: Filled | Annotated[list[Filled], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input
