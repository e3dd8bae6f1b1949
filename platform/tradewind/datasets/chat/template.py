"""Chat templates: the Jinja text that says how messages are written, rendered as `transformers` renders it.

What is trained on is found in one of two ways. A template with `{% generation %}` blocks says it. For any other the
conversation is rendered up to each answer, with the prompt for one, and again with the answer: what came behind the
prompt is the answer. That is exact as long as each rendering begins as the shorter ones do, and refused otherwise:
templates that leave out earlier reasoning, for example, show the model something else than it will see.

Words of a message are words: a special token's name in them never becomes the token, so no message can end its turn or
begin another's (`transformers` does so with `sanitize_control_tokens=True`).

Templates come from anywhere, so they run in Jinja's sandbox and cannot change what they are given. There is no clock
(`strftime_now`): the same conversations give the same bytes on every day.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tradewind.datasets.chat.conversations import ANSWERER, Conversation
from tradewind.errors import SpecError

if TYPE_CHECKING:
    from jinja2 import Template

PLAIN = """\
{%- for message in messages %}
    {%- if message.role not in ("system", "user", "assistant") %}
        {{- raise_exception("the built-in template knows system, user and assistant, not " + message.role) }}
    {%- elif message.content is not string %}
        {{- raise_exception("the built-in template writes messages of text only") }}
    {%- endif %}
    {{- "<|" + message.role + "|>\\n" + message.content }}
    {{- eos_token if message.role == "assistant" else "\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|assistant|>\\n" }}
{%- endif %}"""
"""In the manner of Tülu 3 (Lambert et al. 2024, open-instruct's `tulu` template). It needs no special token but the
end of text, and ends each answer with it, which is where engines stop."""

WORD, WORD_END, ANSWER, ANSWER_END = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
"""Marks in a rendering. Unicode keeps these code points for a program's own use (chapter 23.7), so none is a text."""
_MARKS = re.compile(f"{WORD}([0-9]+){WORD_END}|({ANSWER})|({ANSWER_END})")
_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True)
class Piece:
    """Part of a rendered conversation: of an answer or not, and whether special tokens in it are words."""

    text: str
    is_answer: bool
    is_word: bool


@dataclass(frozen=True)
class ChatTemplate:
    """A template with the special tokens that it may name, and those that a message must not forge."""

    text: str
    special_tokens: tuple[tuple[str, str], ...]
    forbidden: tuple[str, ...] = ()

    def render(self, conversation: Conversation, *, where: object) -> list[Piece]:
        """A conversation in pieces. Raises SpecError that names `where` when the template refuses it."""
        messages = [self._guarded(message) for message in conversation.messages]
        tools = self._guarded(conversation.tools)
        whole = self._written(messages, tools, where=where)
        if not whole:
            raise SpecError(f"{where}: the chat template writes nothing of it", hint="give another chat.template")
        if not self.marks_answers:
            answers = list(self._answers(messages, tools, whole, where=where))
            whole = "".join(_marked(whole, answers))
        return list(self._pieces(whole))

    @cached_property
    def marks_answers(self) -> bool:
        """Whether it says by `{% generation %}` what is an answer."""
        return bool(_GENERATION.search(self.text))

    def compile(self) -> Template:
        """Raises SpecError with the line of a mistake."""
        import jinja2

        try:
            compiled: Template = _environment().from_string(self.text)
        except jinja2.TemplateSyntaxError as exc:
            raise SpecError(f"line {exc.lineno} of the chat template: {exc.message}", hint="correct it") from exc
        return compiled

    @cached_property
    def _compiled(self) -> Template:
        return self.compile()

    @cached_property
    def _words(self) -> list[str]:
        return [*sorted(self.forbidden, key=len, reverse=True), WORD, WORD_END, ANSWER, ANSWER_END]

    @cached_property
    def _forbidden(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self._words)))

    def _guarded(self, value: Any) -> Any:
        """What a message says, with the names of special tokens marked as words."""
        if isinstance(value, str):
            return self._forbidden.sub(lambda found: f"{WORD}{self._words.index(found[0])}{WORD_END}", value)
        if isinstance(value, dict):
            return {key: self._guarded(one) for key, one in value.items()}
        return [self._guarded(one) for one in value] if isinstance(value, list) else value

    def _written(self, messages: Sequence[Any], tools: Any, *, where: object, prompts: bool = False) -> str:
        import jinja2

        values: Mapping[str, Any] = dict(self.special_tokens)
        try:
            return self._compiled.render(
                **{**values, "messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompts}
            )
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise SpecError(
                f"{where}: the chat template refuses it: {exc}", hint="leave it out, or give another chat.template"
            ) from exc

    def _answers(self, messages: list[Any], tools: Any, whole: str, *, where: object) -> Iterator[tuple[int, int]]:
        for number, message in enumerate(messages):
            if message["role"] != ANSWERER:
                continue
            prompt = self._written(messages[:number], tools, where=where, prompts=True)
            answered = self._written(messages[: number + 1], tools, where=where)
            if not answered.startswith(prompt):
                raise _not_exact(where, number, "does not continue the prompt for an answer")
            if not whole.startswith(answered):
                raise _not_exact(where, number, "is written otherwise when messages follow")
            yield len(prompt), len(answered)

    def _pieces(self, whole: str) -> Iterator[Piece]:
        is_answer, start = False, 0
        for mark in _MARKS.finditer(whole):
            if mark.start() > start:
                yield Piece(whole[start : mark.start()], is_answer, is_word=False)
            if mark[1]:
                yield Piece(self._words[int(mark[1])], is_answer, is_word=True)
            else:
                is_answer = mark[2] is not None
            start = mark.end()
        if start < len(whole):
            yield Piece(whole[start:], is_answer, is_word=False)


def _marked(whole: str, answers: Sequence[tuple[int, int]]) -> Iterator[str]:
    end = 0
    for start, stop in answers:
        yield from (whole[end:start], ANSWER, whole[start:stop], ANSWER_END)
        end = stop
    yield whole[end:]


def _not_exact(where: object, number: int, what: str) -> SpecError:
    return SpecError(
        f"{where}: message {number + 1} {what}, so what is learned of it would not be what is asked of the model",
        hint="give a chat.template with {% generation %} around what is learned",
    )


def _environment() -> Any:
    """Jinja as `transformers` sets it up for templates (`utils/chat_template_utils.py` of 5.x), without the clock."""
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` … `{% endgeneration %}`."""

        tags = {"generation"}  # noqa: RUF012 - an attribute of Jinja's class, which has no ClassVar

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

        def _mark(self, caller: Any) -> str:
            return f"{ANSWER}{caller()}{ANSWER_END}"

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    return environment


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own escapes what HTML would."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    import jinja2

    raise jinja2.TemplateError(message)
