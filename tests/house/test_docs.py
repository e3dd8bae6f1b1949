"""The documents tell the truth: their code runs, their specs load, their commands exist, their links lead somewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import typer.main

from tests.house.documents import Block, blocks, command_lines, complaint_about, links, ours
from tradewind.specs import load

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if path.is_file()]
HAS_CLI = (ROOT / "platform" / "tradewind" / "cli" / "__init__.py").is_file()

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])

RUN_BLOCKS = """
import json, sys
names = {"__name__": "__main__"}
for place, line, text in json.load(open(sys.argv[1])):
    exec(compile("\\n" * (line - 1) + text, place, "exec"), names)
"""


def all_blocks(*languages: str) -> list[Block]:
    return [block for path in DOCUMENTS for block in blocks(path, *languages)]


@each_document
def test_python_of_a_document_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    """As one program in an empty folder that is also the home; a block after `<!-- not run: reason -->` is left out."""
    todo = [(str(block.path), block.line, block.text) for block in blocks(path, "python") if not block.exempt]
    if not todo:
        return
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "blocks.json").write_text(json.dumps(todo))
    done = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS, str(tmp_path / "blocks.json")],
        cwd=home,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_yaml_of_the_documents_loads(tmp_path: Path) -> None:
    for block in all_blocks("yaml", "yml"):
        if block.text.lstrip().startswith("kind:") or "\nkind:" in block.text:
            (tmp_path / "spec.yaml").write_text(block.text, encoding="utf-8")
            try:
                load(tmp_path / "spec.yaml")
            except Exception as exc:
                exc.add_note(f"in {block.place}")
                raise


@pytest.mark.skipif(not HAS_CLI, reason="there is no command line yet")
def test_commands_of_the_documents_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    from tradewind.cli import app

    monkeypatch.chdir(ROOT)
    command = typer.main.get_command(app)
    wrong = [
        f"{block.place}: tw {' '.join(words)}: {complaint}"
        for block in all_blocks("bash", "sh", "console", "shell")
        for words in ours(command_lines(block.text))
        if (complaint := complaint_about(command, words))
    ]
    assert wrong == []


def test_make_targets_of_the_documents_exist() -> None:
    makefile = ROOT / "Makefile"
    text = makefile.read_text() if makefile.is_file() else ""
    targets = {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha() and ":" in line}
    for block in all_blocks("bash", "sh", "console", "shell"):
        for program, *words in command_lines(block.text):
            if program == "make":
                assert {word for word in words if word[0].isalpha() and "=" not in word} <= targets, block.place


@each_document
def test_links_of_a_document_lead_somewhere(path: Path) -> None:
    assert [target for target in links(path) if not (path.parent / target).exists()] == []


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="no documents have been written yet")
def test_design_is_drawn() -> None:
    assert blocks(ROOT / "docs" / "design.md", "mermaid")


class TestReadingOfDocuments:
    """That the tests above can fail."""

    def test_blocks_have_their_lines_and_exemptions(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(
            "# A\n```python\nx = 1\n```\n<!-- not run: dear -->\n```python\ny\n```\n- b\n  ```bash\n  tw\n  ```\n"
        )
        first, second = blocks(page, "python")
        assert (first.line, first.text, first.exempt) == (3, "x = 1\n", False)
        assert (second.line, second.exempt) == (7, True)
        assert [block.text for block in blocks(page, "bash")] == ["tw\n"]

    def test_exemption_needs_a_reason_and_covers_one_block(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("<!-- not run: -->\n```python\n```\n<!-- not run: a --> text\n```python\n```\n")
        assert [block.exempt for block in blocks(page, "python")] == [False, False]

    def test_links_outside_code_are_found(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(
            "[a](x.md#top) ![b](y/z.svg 'title') [c](https://a.b) [d](#here) `[e](no.md)`\n```\n[f](no.md)\n```\n"
        )
        assert links(page) == ["x.md", "y/z.svg"]

    def test_command_lines_are_split_as_bash_does(self) -> None:
        text = "$ A=1 tw up --name 'two words' \\\n  --fast # why\nmake demo && .venv/bin/tw down a@1 | tee log\n"
        assert ours(command_lines(text)) == [["up", "--name", "two words", "--fast"], ["down", "a@1"]]

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["train", "jobs/a.yaml", "--workers", "2"], None),
            (["train", "jobs/a.yaml", "--fast", "-w3"], None),
            (["models", "list"], None),
            (["--help"], None),
            (["models", "--help"], None),
            ([], None),
            (["trian", "a.yaml"], "No such command 'trian'"),
            (["models", "lst"], "No such command 'lst'"),
            (["train", "a.yaml", "--wokers", "2"], "No such option"),
            (["train", "a.yaml", "--workers", "two"], "Invalid value for '-w' / '--workers'"),
            (["train"], "Missing argument"),
            (["train", "a.yaml", "b.yaml"], "unexpected extra argument"),
        ],
    )
    def test_wrong_command_is_seen(self, words: list[str], complaint: str | None) -> None:
        said = complaint_about(_example(), words)
        assert (said is None) if complaint is None else (said is not None and complaint in said)


def _example() -> Any:
    app, models = typer.Typer(), typer.Typer()

    @app.command()
    def train(spec: str, workers: Annotated[int, typer.Option("-w", "--workers")] = 1, fast: bool = False) -> None:
        raise AssertionError("nothing is run")

    @models.command("list")
    def list_models() -> None:
        raise AssertionError("nothing is run")

    @models.command()
    def remove() -> None:
        raise AssertionError("nothing is run")

    app.add_typer(models, name="models")
    return typer.main.get_command(app)
