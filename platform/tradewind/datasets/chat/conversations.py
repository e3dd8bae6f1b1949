"""Conversations in rows of JSON lines and Parquet, as OpenAI writes them: `messages` of `role` and `content`.

A row may have `tools` beside them, which templates list for the model; or instead of `messages` a `prompt` and the
`response` to it. What a conversation is in a build is its JSON: two are equal when that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradewind.datasets.corpus.documents import Place, some_of
from tradewind.datasets.corpus.sources import Source
from tradewind.errors import SpecError

if TYPE_CHECKING:
    import pyarrow as pa

PAIR = ("prompt", "response")
TOOLS = "tools"
ANSWERER = "assistant"

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversations:
    """The messages in a column. With `needs_answer` one without a message of the assistant is refused."""

    column: str
    needs_answer: bool
    is_whole_file = False

    def columns(self, schema: pa.Schema, source: Source) -> Sequence[str]:
        import pyarrow as pa

        if self.column not in schema.names:
            if set(PAIR) <= set(schema.names):
                return PAIR
            raise self._missing(Place(source), schema.names)
        kind = schema.field(self.column).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
            raise SpecError(
                f"{source.location}: column {self.column!r} holds {kind}, not messages",
                hint="a list of structs with role and content is needed; name another chat.column",
            )
        return [self.column, *([TOOLS] if TOOLS in schema.names else [])]

    def text(self, row: Mapping[str, Any], place: Place) -> str:
        """A conversation as JSON."""
        messages = self._messages(row, place)
        if self.needs_answer and not any(message["role"] == ANSWERER for message in messages):
            raise SpecError(f"{place} has no answer of the assistant to learn", hint="leave it out, or train_on: all")
        tools = {TOOLS: row[TOOLS]} if row.get(TOOLS) else {}
        return json.dumps({"messages": messages, **tools}, ensure_ascii=False, separators=(",", ":"))

    def prose(self, text: str) -> Iterable[str]:
        return [message["content"] for message in read_conversation(text).messages if message["content"]]

    def _messages(self, row: Mapping[str, Any], place: Place) -> list[Message]:
        given = row.get(self.column)
        if self.column not in row and set(PAIR) <= row.keys():
            roles = ("user", ANSWERER)
            given = [{"role": role, "content": row[name]} for role, name in zip(roles, PAIR, strict=True)]
        elif self.column not in row:
            raise self._missing(place, row)
        if not isinstance(given, list) or not given:
            found = "no messages" if not given else f"{type(given).__name__}, not a list of messages,"
            raise SpecError(f"{place} has {found} in {self.column!r}", hint="leave it out, or name another chat.column")
        return [_message(one, _Where(place, number)) for number, one in enumerate(given, 1)]

    def _missing(self, place: Place, known: Iterable[str]) -> SpecError:
        return SpecError(
            f"{place} has no column {self.column!r}",
            hint=f"set chat.column, or have {' and '.join(PAIR)}; the columns are: {some_of(known)}",
        )


@dataclass(frozen=True)
class Conversation:
    messages: list[Message]
    tools: list[Any] | None

    @property
    def ends_with_answer(self) -> bool:
        return bool(self.messages[-1]["role"] == ANSWERER)


def read_conversation(text: str) -> Conversation:
    """The conversation in the JSON that `Conversations.text` made."""
    values = json.loads(text)
    return Conversation(values["messages"], values.get(TOOLS))


@dataclass(frozen=True)
class _Where:
    """A message, for people. To know its line takes reading the file, so nothing is written before it is needed."""

    place: Place
    number: int

    def __str__(self) -> str:
        return f"{self.place}, message {self.number}"


def _message(given: Any, where: _Where) -> Message:
    """One message. Columns of Parquet have each key in each row, so keys without a value are as if not there."""
    if not isinstance(given, dict) or not isinstance(given.get("role"), str):
        raise SpecError(f"{where} has no role", hint="a message is an object with role and content")
    known = {key: value for key, value in given.items() if value is not None}
    message = {**known, "content": _content(given.get("content"), where)}
    if message["role"] == ANSWERER and not (message["content"] or "").strip() and not message.get("tool_calls"):
        raise SpecError(f"{where} is an empty answer of the assistant", hint="leave the conversation out")
    return message


def _content(given: Any, where: _Where) -> str | None:
    """Text, none, or a list of parts that are text."""
    if given is None or isinstance(given, str):
        return given
    parts = given if isinstance(given, list) else [given]
    wrong = next((part for part in parts if not (isinstance(part, dict) and isinstance(part.get("text"), str))), None)
    if wrong is not None:
        found = wrong.get("type", "no text") if isinstance(wrong, dict) else type(wrong).__name__
        raise SpecError(f"{where} holds {found}, not text", hint="only text is trained on; leave the conversation out")
    return "".join(part["text"] for part in parts)
