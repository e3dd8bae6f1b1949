from __future__ import annotations

import uuid
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from tests.reports.conftest import RUN, journey
from tests.tuning import sweeps
from tradewind import notebook
from tradewind.datasets import Dataset
from tradewind.records import EndpointState, SweepPage
from tradewind.registry import Model
from tradewind.serving import Endpoint
from tradewind.storage import Store, open_store
from tradewind.training import Run
from tradewind.tuning import Sweep
from tradewind.tuning.journal import SweepFiles
from tradewind.workspace import Report

WICKED = "<script>alert('ahoy')</script>&amp;"


@pytest.fixture
def store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def formatter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The HTML formatter of an IPython that has loaded the extension."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = SimpleNamespace(display_formatter=None)
    from IPython.core.formatters import DisplayFormatter

    shell.display_formatter = DisplayFormatter()
    notebook.load_ipython_extension(shell)
    return shell.display_formatter.formatters["text/html"]


class Tags(HTMLParser):
    """Which tags a page has, and that they are closed in order."""

    VOID = ("br", "hr", "img", "meta", "link", "path", "rect", "circle", "line")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def assert_escaped(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html
    assert "script" not in Tags(html).seen


def test_extension_is_found_by_its_name() -> None:
    make: Any = InteractiveShell
    shell = make()
    assert shell.extension_manager.load_extension("tradewind.notebook") is None
    html = shell.display_formatter.formatters["text/html"]
    assert html.lookup_by_type("tradewind.datasets.dataset.Dataset") is notebook.dataset_html
    InteractiveShell.clear_instance()


def test_other_objects_are_shown_as_before(formatter: Any) -> None:
    assert formatter("text") is None


def test_dataset_shows_its_splits(formatter: Any, store: Store) -> None:
    html = formatter(Dataset(store, journey().dataset))
    Tags(html)
    for text in ("dataset pystdlib@1", "1440", "train", "3.2 M tokens", "heldout", "66.1 k tokens"):
        assert text in html


def test_model_shows_its_loss_and_its_lineage(formatter: Any, store: Store) -> None:
    model = journey().model
    assert model is not None
    html = formatter(Model(store, model))
    Tags(html)
    for text in ("model pystdlib@3", "1,050,752", "128 tokens", f"checkpoint:{RUN}/600", "4.1 MiB"):
        assert text in html


def test_model_without_a_loss_shows_a_dash(formatter: Any, store: Store) -> None:
    model = journey().model
    assert model is not None
    assert "<td>–</td>" in formatter(Model(store, model.model_copy(update={"heldout_loss": None})))


def put_run(store: Store, **changes: Any) -> Run:
    story = journey()
    files = Run(store, RUN).files
    store.put(files.key("run.json"), story.start.model_copy(update=changes).to_json())
    lines = "\n".join(row.model_dump_json() for row in story.metrics[::50])
    store.put(files.key("metrics/1.jsonl"), lines.encode())
    assert story.end is not None
    store.put(files.key("end.json"), story.end.to_json())
    for one in story.checkpoints:
        store.put(files.key(f"checkpoints/{one.step:09d}.json"), one.to_json())
    return Run(store, RUN)


def test_run_shows_its_curve(formatter: Any, store: Store) -> None:
    html = formatter(put_run(store))
    assert "svg" in Tags(html).seen
    for text in (f"run {RUN}", "finished", "pystdlib@1", "600", "4.8710"):
        assert text in html


def test_run_that_has_just_begun_shows_what_there_is(formatter: Any, store: Store) -> None:
    run = put_run(store)
    for item in list(store.list(f"runs/{RUN}")):
        if not item.key.endswith("run.json"):
            store.delete(item.key)
    assert "running" in formatter(run)


def test_sweep_shows_its_trials_and_their_curves(formatter: Any, store: Store) -> None:
    files = SweepFiles(store, "rates")
    store.put(files.key("sweep.json"), sweeps.start().model_copy(update={"sweep": "rates"}).to_json())
    assert "no held-out loss yet" in formatter(Sweep(store, "rates"))
    page = SweepPage(sweep="rates", number=1, process=sweeps.PROCESS, events=tuple(sweeps.events()))
    store.put(files.pages.key(1), page.to_json())
    html = formatter(Sweep(store, "rates"))
    assert "svg" in Tags(html).seen
    for text in ("sweep rates", "20 of 24", "cap 80%", "learning rate"):
        assert text in html


def endpoint(store: Store, **changes: Any) -> Endpoint:
    record = journey().endpoint
    assert isinstance(record, EndpointState)
    return Endpoint(store, record.model_copy(update=changes))


def test_endpoint_shows_where_it_is(formatter: Any, store: Store) -> None:
    html = formatter(endpoint(store))
    Tags(html)
    for text in ("endpoint chat", "up", "http://127.0.0.1:8000", "pystdlib@3"):
        assert text in html
    assert "<td>down</td>" in formatter(endpoint(store, status="down"))


def test_what_records_say_is_escaped(formatter: Any, store: Store) -> None:
    story = journey()
    assert story.model is not None
    shown = [
        Dataset(store, story.dataset.model_copy(update={"name": WICKED})),
        Model(store, story.model.model_copy(update={"parents": (WICKED,)})),
        endpoint(store, url=WICKED),
        endpoint(store, name=WICKED),
        put_run(store, dataset=WICKED),
    ]
    for one in shown:
        assert_escaped(formatter(one))


def test_names_in_a_table_are_escaped() -> None:
    assert_escaped(notebook.table("facts", {WICKED: 1}))


def test_report_is_a_frame_that_holds_the_page() -> None:
    html = Report("file:///page", f'<p title="x">{WICKED}</p>', None)._repr_html_()
    assert Tags(html).seen == {"iframe"}
    assert_escaped(html.replace("&lt;p", "").replace("&amp;amp;", ""))
