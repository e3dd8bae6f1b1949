"""Byte-level BPE tokenizers: trained on the text at hand, stored as the `tokenizer.json` that everyone reads.

Byte-level BPE (Radford et al. 2019, section 2.2) has no unknown token: any text encodes, and decodes to itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tradewind.errors import IntegrityError, SpecError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
USUAL_ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>")


def train_tokenizer(texts: Iterable[str], *, vocabulary: int) -> Tokenizer:
    """A tokenizer with exactly `vocabulary` tokens. Raises SpecError when the text is too small for so many."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise SpecError(
            f"the text is too small for a vocabulary of {vocabulary}: it gives {tokenizer.get_vocab_size()} tokens",
            hint="add text, or ask for fewer tokens",
        )
    return _without_commands(tokenizer)


def vocabulary_of(tokenizer: Tokenizer) -> int:
    """One more than the highest id. Tokenizers from elsewhere may leave ids out."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def end_of_text_in(tokenizer: Tokenizer, wanted: str | None, *, what: str) -> str:
    """The token that ends a document: the one wanted, or the first usual one. Raises SpecError when it is not there."""
    for token in (wanted,) if wanted else USUAL_ENDS:
        if tokenizer.token_to_id(token) is not None:
            return token
    special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
    known = f"its special tokens are: {', '.join(special[:10])}" if special else "it has no special tokens"
    missing = f"has no token {wanted!r}" if wanted else "has none of the usual tokens that end a text"
    raise SpecError(f"the tokenizer of {what} {missing}", hint=f"set tokenizer.end_of_text; {known}")


def load_tokenizer(data: bytes, *, what: str) -> Tokenizer:
    """A tokenizer from the bytes of a `tokenizer.json`. Raises IntegrityError when they are not one."""
    from tokenizers import Tokenizer

    try:
        return _without_commands(Tokenizer.from_buffer(data))
    except Exception as exc:
        raise IntegrityError(f"the tokenizer of {what} cannot be read: {exc}") from exc


def _without_commands(tokenizer: Tokenizer) -> Tokenizer:
    """Let the words `<|endoftext|>` in a text be words: otherwise a document that holds them would end there."""
    tokenizer.encode_special_tokens = True
    return tokenizer
