"""What a spec asks a build for, made ready: where documents are, what they are, and the form that they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradewind.datasets.chat.conversations import Conversations
from tradewind.datasets.chat.encoder import ChatForm
from tradewind.datasets.chat.marks import DTYPE
from tradewind.datasets.chat.template_choice import choose_template
from tradewind.datasets.corpus.documents import Content, TextColumn
from tradewind.datasets.corpus.encoding import SPLITS, Encoded, Form, TextForm
from tradewind.datasets.corpus.packing import token_type
from tradewind.datasets.corpus.tokenizer_choice import ChosenTokenizer, given_tokenizer
from tradewind.datasets.dataset import Dataset
from tradewind.datasets.tokenizer import END_OF_TEXT
from tradewind.errors import SpecError
from tradewind.records import ChatRows, ChatSplit
from tradewind.specs import ChatSpec, DatasetSpec, TextSpec


@dataclass(frozen=True)
class Recipe:
    """`given` is the tokenizer that there is already, if the spec takes one."""

    spec: DatasetSpec
    wish: TextSpec | ChatSpec
    content: Content
    given: ChosenTokenizer | None
    form: Form

    def dtype(self, vocabulary: int) -> str:
        """The type of tokens: with room for marks, or the smallest."""
        return (DTYPE if isinstance(self.form, ChatForm) else token_type(vocabulary)).name

    def chat(self, encoded: Sequence[Encoded]) -> ChatRows | None:
        """What a version of conversations is recorded with. Raises SpecError when a split has no row."""
        form = self.form
        if isinstance(form, TextForm):
            return None
        splits = {name: sum((one.chat[name] for one in encoded), ChatSplit()) for name in SPLITS}
        empty = next((name for name, split in splits.items() if not split.rows), None)
        if empty:
            raise SpecError(
                f"no conversation is left for {empty}: {splits[empty].dropped} have no answer in {form.context} tokens",
                hint="raise chat.context, or add conversations",
            )
        return ChatRows(
            context=form.context,
            train_on=form.train_on,
            template=form.template.text,
            special_tokens=dict(form.template.special_tokens),
            splits=splits,
        )


def recipe(spec: DatasetSpec, *, tokenizer_of: Dataset | None = None) -> Recipe:
    """Raises SpecError for the spec of a table, for a tokenizer or a template that cannot be used."""
    given = given_tokenizer(spec.tokenizer, tokenizer_of)
    end_of_text = given.end_of_text if given else END_OF_TEXT
    if spec.text:
        return Recipe(spec, spec.text, TextColumn(spec.text.column), given, TextForm(end_of_text))
    chat = spec.chat
    if chat is None:
        raise SpecError(f"the spec of {spec.name} holds no text", hint="a table has no documents to tokenize")
    content = Conversations(chat.column, needs_answer=chat.train_on == "assistant")
    template = choose_template(spec, end_of_text=end_of_text, tokenizer_of=tokenizer_of)
    form = ChatForm(template, chat.context, chat.train_on, chat.too_long, end_of_text)
    return Recipe(spec, chat, content, given, form)
