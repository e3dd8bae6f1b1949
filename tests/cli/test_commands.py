from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.cli.conftest import MODEL_FILES, Tw
from tests.reports.conftest import RUN, loss_at
from tests.samples import dataset_spec, write_text
from tradewind.cli import app
from tradewind.workspace import Workspace


def commands(command: Any, *path: str) -> dict[tuple[str, ...], Any]:
    """Every command of the tree by its words, groups included."""
    below = getattr(command, "commands", {})
    return {path: command} | {
        words: one for name, child in below.items() for words, one in commands(child, *path, name).items()
    }


COMMANDS = commands(typer.main.get_command(app))
LISTINGS = [("datasets", "list"), ("runs", "list"), ("models", "list"), ("endpoints", "list"), ("usage",)]


def test_commands_are_these() -> None:
    """A command is added, renamed or taken away on purpose."""
    assert sorted(" ".join(words) for words in COMMANDS) == [
        "", "autoscale", "autoscale replay", "autoscale show", "budgets", "budgets list", "budgets remove",
        "budgets set", "catalog", "catalog apply", "catalog drop",
        "catalog refresh", "catalog show", "catalog snapshots", "chaos", "chaos kill", "chaos notice", "cluster",
        "cluster doctor", "cluster lint", "cluster render", "cluster status", "cluster sweep", "datasets",
        "datasets add", "datasets budget", "datasets copies", "datasets diff", "datasets drop-copy", "datasets gc",
        "datasets lifecycle", "datasets list", "datasets replicate", "datasets restore", "datasets show",
        "datasets tag", "datasets tier", "datasets verify", "demo", "endpoints", "endpoints list", "endpoints show",
            "endpoints stop",
        "migrate", "migrate estimate", "models", "models export", "models list", "models promote", "models register",
        "models show", "offers", "plan", "runs", "runs list", "runs logs", "runs report", "runs resume", "runs show",
        "runs stop", "runs tensorboard", "runs verify", "serve", "serve start", "serve tune", "tco",
        "tco buy-vs-rent", "train", "tune", "tune best", "tune list", "tune report", "tune resume", "tune show",
        "tune start", "tune stop", "usage", "usage compact",
    ]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "tw")
def test_each_command_explains_itself_and_its_options(tw: Tw, words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    answer = tw(*words, "--help")
    assert (answer.exit_code, answer.err) == (0, "")
    assert answer.out.startswith("Usage: tw")
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{parameter.name} of tw {' '.join(words)} has no help"


@pytest.mark.parametrize("words", [(), *((name,) for name in ("datasets", "runs", "models", "endpoints"))])
def test_command_that_is_not_whole_shows_what_there_is(tw: Tw, words: tuple[str, ...]) -> None:
    answer = tw(*words)
    assert "Commands:" in answer.out + answer.err
    assert answer.exit_code == 2


def test_version_is_printed(tw: Tw) -> None:
    import tradewind

    assert tw("--version").out == f"{tradewind.__version__}\n"


@pytest.mark.parametrize("words", LISTINGS, ids=" ".join)
def test_listing_of_an_empty_workspace_is_empty(tw: Tw, empty: Path, words: tuple[str, ...]) -> None:
    answer = tw(*words, "-w", empty, "--json")
    assert (answer.exit_code, answer.err, answer.json) == (0, "", [])
    answer = tw(*words, "-w", empty)
    assert (answer.exit_code, answer.err) == (0, "")
    assert answer.out.startswith(("no ", "nothing "))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("datasets", "list"), ["pystdlib@1", "320"]),
        (("runs", "list"), [RUN, "finished", f"{loss_at(600) + 0.09:.4f}"]),
        (("models", "list"), ["pilot@1", "prod", "3.2500"]),
        (("endpoints", "list"), ["chat", "up", "left", "down", "http://127.0.0.1:8000"]),
        (("usage",), ["training", RUN, "pystdlib@1", "chat"]),
        (("datasets", "show", "pystdlib"), ["split train", "split heldout", "uint16", "320 tokens"]),
        (("runs", "show", RUN), ["4.8710", "step 600", "bigram baseline", "estimated"]),
        (("runs", "show", "last"), [RUN]),
        (("models", "show", "pilot@prod"), ["pilot@1", "1,234", "64 tokens", f"run:{RUN}", "file config.json"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_what_a_workspace_holds_is_shown_to_people_and_to_programs(
    tw: Tw, filled: Path, words: tuple[str, ...], shown: list[str]
) -> None:
    answer = tw(*words, "-w", filled)
    assert (answer.exit_code, answer.err) == (0, "")
    assert [text for text in shown if text not in answer.out] == []
    for place in (("--json", "-w", filled), ("-w", filled, "--json")):
        answer = tw(*words, *place)
        assert (answer.exit_code, answer.err) == (0, "")
        assert answer.json


def test_json_of_listings_holds_the_records(tw: Tw, filled: Path) -> None:
    place = Workspace(str(filled))
    assert tw("datasets", "list", "-w", filled, "--json").json == [
        {**record.model_dump(mode="json"), "tags": []} for record in place.datasets.list()
    ]
    assert [one["id"] if "id" in one else one["run"] for one in tw("runs", "list", "-w", filled, "--json").json] == [
        RUN
    ]
    assert [one["status"] for one in tw("endpoints", "list", "-w", filled, "--json").json] == ["up", "down"]
    assert len(tw("usage", "-w", filled, "--json").json) == len(place.usage())


def test_usage_since_leaves_out_what_is_older(tw: Tw, filled: Path) -> None:
    subjects = {row["subject"] for row in tw("usage", "--since", "12h", "-w", filled, "--json").json}
    assert subjects == {"dataset:pystdlib@1", f"run:{RUN}"}
    everything = tw("usage", "-w", filled, "--json").json
    assert len(everything) > len(subjects)
    assert tw("usage", "--since", "7000d", "-w", filled, "--json").json == everything


def test_workspace_comes_from_the_environment_too(tw: Tw, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_WORKSPACE", str(filled))
    assert [one["name"] for one in tw("models", "list", "--json").json] == ["pilot"]


def test_dataset_is_added_and_verified(tw: Tw, tmp_path: Path) -> None:
    spec = tmp_path / "dataset.yaml"
    spec.write_text(dataset_spec(write_text(tmp_path / "text", documents=6)).to_yaml())
    answer = tw("datasets", "add", spec, "-w", tmp_path / "ws")
    assert answer.exit_code == 0
    assert answer.out.startswith("logbook@1: ")
    assert "tokenizer: " in answer.err
    assert tw("datasets", "add", spec, "-w", tmp_path / "ws", "--json").json["version"] == 2
    answer = tw("datasets", "verify", "logbook@1", "-w", tmp_path / "ws", "--json")
    assert answer.json["whole"] is True
    assert answer.json["bytes"] > 0
    assert "logbook@2 is whole" in tw("datasets", "verify", "logbook", "-w", tmp_path / "ws").out


def test_model_is_promoted_and_exported(tw: Tw, own: Path, tmp_path: Path) -> None:
    assert tw("models", "promote", "pilot@1", "canary", "-w", own).out == "pilot@canary is pilot@1\n"
    assert tw("models", "promote", "pilot@canary", "canary", "-w", own, "--json").json["move"] == 2
    answer = tw("models", "export", "pilot@canary", tmp_path / "out", "-w", own, "--json")
    assert answer.json == {"model": "pilot@1", "folder": str(tmp_path / "out"), "files": sorted(MODEL_FILES)}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == MODEL_FILES
    assert tw("models", "export", "pilot", tmp_path / "out", "-w", own).exit_code == 2


def test_report_is_written_where_it_is_wanted(tw: Tw, own: Path, tmp_path: Path) -> None:
    answer = tw("runs", "report", "last", "-w", own, "-o", tmp_path / "page.html", "--json")
    path = Path(answer.json["path"])
    assert path.read_text() == (tmp_path / "page.html").read_text()
    assert RUN in path.read_text()
    assert tw("runs", "report", "last", "-w", own).out == f"{path}\n"


class TestStop:
    def test_endpoint_is_not_stopped_without_a_yes_where_nobody_can_be_asked(
        self, tw: Tw, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = tw("endpoints", "stop", "chat", "-w", own)
        assert answer.exit_code == 2
        assert "error: stopping endpoint 'chat' at http://127.0.0.1:8000 needs a yes" in answer.err
        assert "hint: add --yes" in answer.err
        assert Workspace(str(own)).endpoints.get("chat").is_up

    def test_endpoint_of_another_machine_is_left_to_it_even_with_a_yes(self, tw: Tw, own: Path) -> None:
        answer = tw("endpoints", "stop", "chat", "--yes", "-w", own)
        assert (answer.exit_code, "runs on elsewhere" in answer.err) == (2, True)

    def test_endpoint_that_is_not_up_needs_no_yes_to_be_refused(self, tw: Tw, own: Path) -> None:
        answer = tw("endpoints", "stop", "left", "-w", own)
        assert answer.exit_code == 2
        assert "error: endpoint 'left' is not up" in answer.err


@pytest.fixture
def wrong_spec(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text("kind: train\nname: pilot\ndataset: pystdlib\nmodel:\n  hiden: 64\n")
    return path


class TestRefusal:
    """Exit code 2: the request was at fault."""

    def test_mistake_in_a_spec_is_shown_with_its_line_and_the_nearest_key(
        self, tw: Tw, empty: Path, wrong_spec: Path
    ) -> None:
        answer = tw("train", wrong_spec, "-w", empty)
        assert (answer.exit_code, answer.out) == (2, "")
        assert f"error: {wrong_spec}:5: unknown key 'hiden' in model (did you mean 'hidden'?)" in answer.err
        assert "Traceback" not in answer.err

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (("datasets", "show", "pystdlb"), "no dataset named 'pystdlb' (did you mean 'pystdlib'?)"),
            (("datasets", "verify", "pystdlib@7"), "pystdlib has no version 7"),
            (("datasets", "show", "Not A Name"), "'Not A Name' is not a name"),
            (("datasets", "add", "/nowhere.yaml"), "/nowhere.yaml"),
            (("models", "show", "pilot@prd"), "pilot has no alias 'prd' (did you mean 'prod'?)"),
            (("models", "promote", "pilot", "Not An Alias"), "'Not An Alias' is not a name"),
            (("models", "register", RUN, "--name", "pilot", "--step", "7"), f"{RUN} has no checkpoint at step 7"),
            (("runs", "show", "nothing"), f"no run named 'nothing' (known: {RUN})"),
            (("endpoints", "stop", "chta", "--yes"), "no endpoint named 'chta' (did you mean 'chat'?)"),
            (("usage", "--since", "yesterday"), "--since: 'yesterday' is not a time"),
            (("usage", "--since", "3000000d"), "--since: 3000000d ago is before the calendar begins"),
            (("serve", "pilto"), "no model named 'pilto' (did you mean 'pilot'?)"),
            (("serve", "/nowhere.yaml"), "/nowhere.yaml"),
            (("serve", "pilot@prod", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_what_is_not_there_is_named(self, tw: Tw, filled: Path, words: tuple[str, ...], complaint: str) -> None:
        answer = tw(*words, "-w", filled)
        assert (answer.exit_code, answer.out) == (2, "")
        assert complaint in answer.err
        assert answer.err.startswith("error: ")
        assert "Traceback" not in answer.err

    @pytest.mark.parametrize("detach", [(), ("--detach",)])
    def test_port_in_use_is_refused_before_anything_starts(self, tw: Tw, filled: Path, detach: tuple[str, ...]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            answer = tw("serve", "pilot@prod", "--port", port, "-w", filled, *detach)
        assert answer.exit_code == 2
        assert f"error: port {port} on 127.0.0.1 is in use" in answer.err
        assert "hint: choose another: --port " in answer.err

    def test_demo_with_a_port_in_use_is_refused_before_anything_starts(self, tw: Tw, empty: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            answer = tw("demo", "--port", server.getsockname()[1], "-w", empty)
        assert (answer.exit_code, "is in use" in answer.err) == (2, True)
        assert not empty.exists()

    @pytest.mark.parametrize("url", ["filo://here", "s3://", "file://otherhost/a"])
    def test_workspace_that_is_no_place_is_refused(self, tw: Tw, url: str) -> None:
        answer = tw("datasets", "list", "-w", url)
        assert (answer.exit_code, answer.out) == (2, "")
        assert answer.err.startswith("error: ")

    def test_workspace_that_is_a_file_is_refused(self, tw: Tw, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        answer = tw("datasets", "list", "-w", tmp_path / "file")
        assert answer.exit_code in (1, 2)
        assert answer.err.startswith("error: ")

    def test_unknown_option_and_command_are_refused(self, tw: Tw) -> None:
        for words in (("datasets", "lst"), ("usage", "--sicne", "1d"), ("serve", "pilot@prod", "--port", "0")):
            assert tw(*words).exit_code == 2

    def test_price_that_is_none_is_refused(self, tw: Tw, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRADEWIND_USD_PER_HOUR", "cheap")
        answer = tw("usage", "-w", empty)
        assert (answer.exit_code, "TRADEWIND_USD_PER_HOUR is 'cheap'" in answer.err) == (2, True)


class TestFailure:
    """Exit code 1: the request was fine, and something went wrong."""

    @pytest.fixture
    def damaged(self, own: Path) -> Path:
        place = Workspace(str(own))
        place.store.put(place.datasets.get("pystdlib").record.splits["train"].shards[0].key, b"cut")
        return own

    def test_damaged_shard_is_an_error_with_a_hint_and_no_traceback(self, tw: Tw, damaged: Path) -> None:
        answer = tw("datasets", "verify", "pystdlib", "-w", damaged)
        assert (answer.exit_code, answer.out) == (1, "")
        assert "error: dataset pystdlib@1: the file datasets/pystdlib/data/" in answer.err
        assert "has 3 bytes instead of" in answer.err
        assert "\nhint: " in answer.err
        assert "Traceback" not in answer.err

    @pytest.mark.parametrize("first", [True, False])
    def test_debug_shows_the_traceback_wherever_it_stands(self, tw: Tw, damaged: Path, first: bool) -> None:
        words = ["datasets", "verify", "pystdlib", "-w", damaged]
        answer = tw("--debug", *words) if first else tw(*words, "--debug")
        assert answer.exit_code == 1
        assert "in _check" in answer.err
        assert "error: " in answer.err

    def test_error_for_programs_is_json_on_standard_error(self, tw: Tw, damaged: Path) -> None:
        answer = tw("datasets", "verify", "pystdlib", "-w", damaged, "--json")
        assert (answer.exit_code, answer.out) == (1, "")
        error = json.loads(answer.err)
        assert error["error"] == "IntegrityError"
        assert error["remedy"] == "fix"
        assert error["message"].startswith("dataset pystdlib@1")
        assert error["hint"]

    def test_file_that_cannot_be_written_is_an_error(self, tw: Tw, own: Path, tmp_path: Path) -> None:
        answer = tw("runs", "report", "last", "-w", own, "-o", tmp_path / "no" / "folder" / "page.html")
        assert answer.exit_code == 2
        assert f"error: {tmp_path}/no/folder/page.html cannot be written: No such file or directory" in answer.err

    def test_file_is_no_workspace(self, tw: Tw, tmp_path: Path) -> None:
        (tmp_path / "spec.yaml").write_text("kind: train")
        answer = tw("runs", "list", "-w", tmp_path / "spec.yaml")
        assert (answer.exit_code, "is a file" in answer.err) == (2, True)

    def test_bad_alias_is_refused_before_a_version_is_made(self, tw: Tw, filled: Path) -> None:
        before = tw("models", "list", "-w", filled, "--json").out
        for alias in ("Prod!", "3"):
            assert tw("models", "register", "last", "--name", "new", "--alias", alias, "-w", filled).exit_code == 2
        assert tw("models", "list", "-w", filled, "--json").out == before

    def test_interrupted_command_says_that_what_was_written_is_kept(
        self, tw: Tw, filled: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("tradewind.workspace.check_reachable", interrupt)
        answer = tw("datasets", "list", "-w", filled)
        assert (answer.exit_code, answer.out) == (130, "")
        assert answer.err == "interrupted; everything written so far is kept\n"
