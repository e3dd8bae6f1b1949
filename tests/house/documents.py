"""Markdown as the tests of the documents read it: fenced blocks, links, and command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
EXEMPT = re.compile(r"<!-- not run: \S.*?-->\s*\Z", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)")
COMMANDS = ("tw", "tradewind")
SEPARATORS = {"&&", "||", "|", ";", "&", ">", ">>", "<"}


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text."""

    path: Path
    line: int
    language: str
    text: str
    exempt: bool

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


def blocks(path: Path, *languages: str) -> list[Block]:
    return [block for block in _blocks(path, path.read_text(encoding="utf-8")) if block.language in languages]


def _blocks(path: Path, text: str) -> Iterator[Block]:
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("text")) + 1
        inside = re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        yield Block(path, line, fence["language"], inside, bool(EXEMPT.search(text[: fence.start()])))


def links(path: Path) -> list[str]:
    """Where the links to other files of this repository lead, without the heading in them."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text(encoding="utf-8")))
    targets = [found[1].partition("#")[0] for found in LINK.finditer(prose)]
    return [target for target in targets if target and not re.match(r"[a-z]+:", target)]


def command_lines(text: str) -> list[list[str]]:
    """The words of each simple command in a block of bash, its comments, prompts and redirections left out."""
    commands: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True  # else pystdlib@1 is three words
        commands.append([])
        for word in lexer:
            if word in SEPARATORS:
                commands.append([])
            else:
                commands[-1].append(word)
    return [words for words in commands if words]


def ours(commands: list[list[str]]) -> list[list[str]]:
    """Those that call our command line, the name of the program and what is set before it left out."""
    found = []
    for words in commands:
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words and Path(words[0]).name in COMMANDS:
            found.append(words[1:])
    return found


def complaint_about(command: Any, words: list[str]) -> str | None:
    """What is wrong with the words for a command and its sub-commands; nothing is run."""
    name, arguments = "tw", list(words)
    context = None
    while True:
        try:
            context = command.make_context(name, arguments, parent=context)
            if not hasattr(command, "resolve_command"):
                return None
            rest = [*context._protected_args, *context.args]
            name, command, arguments = command.resolve_command(context, rest) if rest else ("", None, [])
        except Exception as exc:
            if type(exc).__name__ == "Exit":  # --help and --version answer while they are parsed
                return None
            if not hasattr(exc, "format_message"):
                raise
            return str(exc.format_message())
        if command is None:
            return None
