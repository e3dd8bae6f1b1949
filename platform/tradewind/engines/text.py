"""Text out of a growing list of tokens: only whole characters, and nothing past a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

INCOMPLETE = "\ufffd"


class TextStream:
    """Turns token ids into text as they come. `stopped` is set once a stop text was met.

    Only the newest tokens are decoded at each step, from one settled piece of text before them on: some decoders drop
    a space at the beginning of what they are given (the way of vLLM and of Text Generation Inference).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._before = 0
        """Index of the first token that is decoded again."""
        self._settled = 0
        """Index behind the last token whose text is in `_text`."""
        self._text = ""
        self._given = 0
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is certain after one more token; empty while it could still turn out otherwise."""
        self._ids.append(token)
        new = self._unsettled()
        if new.endswith(INCOMPLETE):  # the token ends within a character
            return ""
        self._settle(new)
        return self._give(self._text, held_back=self._open_end(self._text))

    def finish(self) -> str:
        """The text that was held back."""
        if self.stopped:
            return ""
        self._settle(self._unsettled())
        return self._give(self._text, held_back=0)

    def _unsettled(self) -> str:
        known = self._decode(self._ids[self._before : self._settled])
        return self._decode(self._ids[self._before :])[len(known) :]

    def _settle(self, new: str) -> None:
        self._text += new
        self._before, self._settled = self._settled, len(self._ids)

    def _give(self, text: str, *, held_back: int) -> str:
        cut = min(
            (at for stop in self._stop if (at := text.find(stop, max(0, self._given - len(stop)))) >= 0), default=-1
        )
        if cut >= 0:
            self.stopped = True
            held_back = len(text) - cut
        new = text[self._given : max(self._given, len(text) - held_back)]
        self._given += len(new)
        return new

    def _open_end(self, text: str) -> int:
        """How many characters at the end may be the beginning of a stop text."""
        longest = max((len(stop) for stop in self._stop), default=1)
        ends = range(min(longest - 1, len(text)), 0, -1)
        return next((size for size in ends if any(stop.startswith(text[-size:]) for stop in self._stop)), 0)
