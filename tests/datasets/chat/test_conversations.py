from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.chat.dialogues import dialogue, message
from tradewind.datasets.chat.conversations import Conversation, Conversations, read_conversation
from tradewind.datasets.corpus.documents import read_documents
from tradewind.datasets.corpus.sources import Part, Source
from tradewind.errors import SpecError

HELLO = [message("user", "ahoy"), message("assistant", "ahoy 🌊")]
TOOLS = [{"type": "function", "function": {"name": "tide"}}]


def read(path: Path, *, column: str = "messages", needs_answer: bool = True, start: int = 0) -> list[Conversation]:
    part = Part(Source(path.name, str(path), path.stat().st_size, ""), start)
    found = read_documents(part, content=Conversations(column, needs_answer))
    return [read_conversation(document.text) for document in found]


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def complaint(path: Path, **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(path, **options)
    return str(caught.value.message)


def test_messages_and_tools_of_a_line_are_kept_as_they_are(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": HELLO, "tools": TOOLS, "id": 1}, {"messages": dialogue(1)})
    assert read(path) == [Conversation(HELLO, TOOLS), Conversation(dialogue(1), None)]


def test_prompt_and_response_are_a_conversation_of_two(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"prompt": "ahoy", "response": "ahoy 🌊"})
    pq.write_table(pa.table({"prompt": ["ahoy"], "response": ["ahoy 🌊"]}), tmp_path / "a.parquet")
    assert read(path) == read(tmp_path / "a.parquet") == [Conversation(HELLO, None)]


def test_rows_of_parquet_are_conversations_and_keys_without_a_value_are_not_there(tmp_path: Path) -> None:
    calls = [message("user", "tide?"), message("assistant", None, tool_calls=[{"name": "tide"}])]
    rows = [dialogue(1), [*calls, message("tool", "high"), message("assistant", "high")]]
    pq.write_table(pa.table({"messages": rows, "id": [1, 2]}), tmp_path / "a.parquet", row_group_size=1)
    assert [one.messages for one in read(tmp_path / "a.parquet")] == rows
    assert [one.messages for one in read(tmp_path / "a.parquet", start=1)] == rows[1:]


def test_parts_of_a_content_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "ah"}, {"type": "text", "text": "oy"}]
    path = lines(tmp_path / "a.jsonl", {"messages": [message("user", None) | {"content": parts}, HELLO[1]]})
    assert read(path) == [Conversation(HELLO, None)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "ahoy"}, "has no column 'messages'"),
        (["ahoy"], "has no column 'messages'"),
        ({"messages": []}, "has no messages in 'messages'"),
        ({"messages": None}, "has no messages in 'messages'"),
        ({"messages": "ahoy"}, "has str, not a list of messages, in 'messages'"),
        ({"messages": ["ahoy"]}, ", message 1 has no role"),
        ({"messages": [HELLO[0], {"content": "ahoy"}]}, ", message 2 has no role"),
        ({"messages": [HELLO[0], message("assistant", " \n")]}, ", message 2 is an empty answer of the assistant"),
        ({"messages": [HELLO[0], message("assistant", None)]}, ", message 2 is an empty answer of the assistant"),
        ({"messages": HELLO[:1]}, " has no answer of the assistant to learn"),
        ({"messages": [message("user", None) | {"content": [{"type": "image_url"}]}]}, ", message 1 holds image_url"),
        ({"messages": [message("user", None) | {"content": 5}]}, ", message 1 holds int, not text"),
        ({"prompt": "ahoy", "response": ""}, ", message 2 is an empty answer of the assistant"),
    ],
)
def test_bad_line_is_told_with_its_number(tmp_path: Path, row: Any, said: str) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": HELLO}, row)
    assert f"{path}, line 2{'' if said[0] == ',' else ' '}{said.strip()}" in complaint(path)


def test_bad_row_of_parquet_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"messages": [HELLO, HELLO, HELLO[:1]]}), path, row_group_size=1)
    assert complaint(path, start=1) == f"{path}, row 3 has no answer of the assistant to learn"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"text": ["ahoy"]}, "row 1 has no column 'messages'"),
        ({"messages": ["ahoy"]}, "column 'messages' holds string, not messages"),
        ({"messages": [["ahoy"]]}, "holds list<"),
    ],
)
def test_columns_of_parquet_are_checked_before_any_row(tmp_path: Path, table: Any, said: str) -> None:
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert said in complaint(tmp_path / "a.parquet")


def test_file_that_is_neither_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.json", [{"messages": HELLO}])
    assert complaint(path) == f"{path} is neither JSON lines nor Parquet"


def test_prompts_alone_will_do_where_all_words_are_learned(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": HELLO[:1]})
    assert read(path, needs_answer=False) == [Conversation(HELLO[:1], None)]
