"""`tw datasets`: make versions of datasets, look at them, compare and check them, let old ones go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradewind.cli import copies, tiers
from tradewind.cli.output import Json, Where, Yes, as_json, facts, table
from tradewind.errors import SpecError
from tradewind.progress import print_line
from tradewind.units import format_bytes, format_count

if TYPE_CHECKING:
    from tradewind.datasets.difference import Change
    from tradewind.datasets.versions import Entry
    from tradewind.records import ChatSplit, DatasetVersion, Split

LONGEST_GRACE_DAYS = 36_500

app = typer.Typer(no_args_is_help=True, help="Dataset versions: add, list, show, compare, keep, check.")
Reference = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION|@TAG]", help="A dataset; without a version the newest.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A dataset.")]


@app.command()
def add(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `kind: dataset`.")],
    on: Annotated[
        Literal["local", "ray"] | None,
        typer.Option(help="Where text is read: in this process or as a Ray job; by default its size decides."),
    ] = None,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Read text or conversations and train a tokenizer, or read a table, and write the next version of a dataset."""
    from tradewind.specs import DatasetSpec
    from tradewind.workspace import Workspace

    wish = DatasetSpec.load(spec)
    record = Workspace(workspace).datasets.add(wish, on=on).record
    if json:
        as_json(record)
    else:
        again = f", {record.duplicates} more were duplicates" if record.duplicates else ""
        text = f"{format_count(record.tokens)} tokens from {record.documents} {_documents(record)}"
        made = f"{format_count(record.rows)} rows" if record.format == "table" else text
        typer.echo(f"{record.name}@{record.version}: {made}{again}")
        if record.chat:
            typer.echo(f"in rows of {record.chat.context} tokens: {_chat(record.chat.total, record.chat.context)}")


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only the versions of this dataset.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Also those that gc has removed.")] = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """All versions of all datasets, with their tags. A damaged record is named, and the others are listed."""
    from tradewind.workspace import Workspace

    found = list(Workspace(workspace).datasets.entries(name, removed=removed))
    if json:
        as_json([_listed(entry) for entry in found])
    else:
        rows = [(entry.reference, ", ".join(entry.tags), *_cells(entry)) for entry in found]
        columns = ("dataset", "tags", "made (UTC)", "holds", "documents", "vocabulary", "state")
        table("datasets", columns, rows, empty="no datasets yet; make one: tw datasets add SPEC")
    broken = [entry for entry in found if entry.problem]
    for entry in broken:
        print_line(f"{entry.reference} cannot be read: {entry.problem}")
    if broken:
        raise typer.Exit(1)


@app.command()
def show(dataset: Reference, workspace: Where = None, json: Json = False) -> None:
    """What a version holds: splits, shards, bytes, columns, where it came from."""
    from tradewind.workspace import Workspace

    place = Workspace(workspace)
    found = place.datasets.get(dataset)
    record = found.record
    tags = sorted(tag for tag, version in place.datasets.tags(record.name).items() if version == record.version)
    tables = {name: found.shard_table(name) for name in record.splits}
    sizes = {name: int(shards.num_bytes.sum()) for name, shards in tables.items()}
    if json:
        counts = {name: {"shards": len(tables[name]), "num_bytes": sizes[name]} for name in tables}
        as_json({**record.model_dump(mode="json"), "tags": tags, "totals": counts})
        return
    splits = {
        f"split {name}": f"{_amount(record, split)}, {format_bytes(sizes[name])}, shards: {len(tables[name])}"
        for name, split in record.splits.items()
    }
    chat = record.chat
    rows = {f"rows of {name}": _chat(split, chat.context) for name, split in chat.splits.items()} if chat else {}
    file = record.tokenizer
    facts(
        found.reference,
        {
            "made (UTC)": f"{record.created_at:%Y-%m-%d %H:%M:%S}",
            **({"tags": ", ".join(tags)} if tags else {}),
            **({"from": ", ".join(record.parents)} if record.parents else {}),
            **({"text": format_bytes(record.text_bytes)} if record.text_bytes else {}),
            **splits,
            **({"row": f"{chat.context} tokens, learned: {chat.train_on}"} if chat else {}),
            **rows,
            **({"token type": record.dtype} if record.dtype else {}),
            **({"tokenizer": f"{file.vocabulary} tokens, sha256 {file.sha256[:12]}…"} if file else {}),
            **{f"column {name}": kind for name, kind in record.columns.items()},
        },
    )


@app.command()
def diff(old: Reference, new: Reference, workspace: Where = None, json: Json = False) -> None:
    """What the second version has that the first has not, and the other way round."""
    from tradewind.datasets.difference import compare
    from tradewind.workspace import Workspace

    datasets = Workspace(workspace).datasets
    found = compare(datasets.get(old), datasets.get(new))
    if json:
        as_json(found.to_dict())
        return
    columns = ("split", "shards +", "shards -", "shared", "bytes +", "bytes -", "tokens", "rows", "documents")
    rows = [
        (name, one.added, one.removed, one.shared, format_bytes(one.bytes_added), format_bytes(one.bytes_removed),
         *(_change(change) for change in (one.tokens, one.rows, one.documents)))
        for name, one in found.splits.items()
    ]  # fmt: skip
    table(f"{found.old} → {found.new}{', its parent' if found.is_parent else ''}", columns, rows, empty="no splits")
    words = {
        "format": found.format,
        "token type": found.dtype,
        **{f"column {name}": change for name, change in found.columns.items()},
        **{f"spec {name}": change for name, change in found.spec.items()},
    }
    changed = [(name, *change) for name, change in words.items() if change[0] != change[1]]
    changed += [] if found.tokenizer_is_same else [("tokenizer", "one", "another")]
    if changed:
        table("changed", ("what", "before", "after"), changed, empty="")
    if found.is_same:
        typer.echo("both hold the same bytes")


@app.command()
def tag(
    dataset: Reference,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag, like `golden`.")],
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Let NAME@TAG mean a version. What it meant before stays in its history; gc keeps tagged versions."""
    from tradewind.workspace import Workspace

    move = Workspace(workspace).datasets.tag(dataset, tag)
    if json:
        as_json(move)
    else:
        typer.echo(f"{move.name}@{move.tag} is {move.name}@{move.version}")


@app.command()
def verify(dataset: Reference, workspace: Where = None, json: Json = False) -> None:
    """Read every byte of a version and compare it with its checksum. Names all damaged files; exits with 1."""
    from tradewind.workspace import Workspace

    datasets = Workspace(workspace).datasets
    found = datasets.get(dataset)
    count = datasets.verify(found)
    if json:
        as_json({"dataset": found.reference, "bytes": count, "whole": True})
    else:
        typer.echo(f"{found.reference} is whole: {format_bytes(count)} checked")


@app.command()
def gc(
    dataset: Name,
    keep: Annotated[int, typer.Option("--keep", help="How many of the newest versions stay.")],
    grace: Annotated[
        float, typer.Option("--grace", metavar="DAYS", help="How long files stay that no version names any more.")
    ] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Remove old versions, and delete files that nothing has named for some days.

    The newest versions stay, tagged ones, and those that a live run or a registered model uses. A removed version can
    be taken back with `tw datasets restore` until its files are deleted.
    """
    from dataclasses import asdict
    from datetime import timedelta

    from tradewind.workspace import Workspace

    if not 0 <= grace <= LONGEST_GRACE_DAYS:
        raise SpecError(f"--grace {grace} is no time in days", hint=f"write 0 to {LONGEST_GRACE_DAYS}")
    done = Workspace(workspace).datasets.gc(dataset, keep=keep, grace=timedelta(days=grace), dry_run=dry_run)
    if json:
        as_json(asdict(done))
        return
    states = {**dict.fromkeys(done.removed, "removed"), **{one: f"kept: {why}" for one, why in done.kept.items()}}
    rows = [(f"{dataset}@{one}", state) for one, state in sorted(states.items())]
    table(f"{dataset}{', nothing is changed' if dry_run else ''}", ("version", "state"), rows, empty="")
    typer.echo(
        f"{'would delete' if dry_run else 'deleted'} {done.num_files} files ({format_bytes(done.num_bytes)}); "
        f"{done.waiting_files} unused ones ({format_bytes(done.waiting_bytes)}) are younger than {grace:g} days"
    )


@app.command()
def restore(
    dataset: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version; of archived ones also a tag.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when archived shards are readable.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only say where archived shards stand.")] = False,
    yes: Yes = False,
    workspace: Where = None,
    json: Json = False,
) -> None:
    """Take a removed version back while its files are there, and bring archived shards to where they can be read."""
    from tradewind.datasets.retention import removal
    from tradewind.specs import Reference
    from tradewind.storage.classes.table import MissingExtraError
    from tradewind.workspace import Workspace

    datasets = Workspace(workspace).datasets
    wanted = Reference.parse(dataset)
    is_taken_back = bool(not status and wanted.version and removal(datasets.store, wanted.name, wanted.version))
    found = datasets.restore(dataset) if is_taken_back else datasets.get(dataset)
    if is_taken_back:
        print_line(f"{found.reference} is taken back")
    try:
        if tiers.restore_archived(workspace, dataset, wait=wait, status=status, yes=yes, json=json):
            return
        state = "is there, none of its shards waits in an archive"
    except MissingExtraError as exc:
        if wait or not is_taken_back:
            raise
        print_line(f"whether it is in an archive is not known: {exc.message}; {exc.hint}")
        state = "is there"
    if json:
        as_json(found.record)
    else:
        typer.echo(f"{found.reference} {state}")


def _listed(entry: Entry) -> dict[str, Any]:
    """A record with what is known beside it, or what is wrong with it."""
    known = entry.record.model_dump(mode="json") if entry.record else {"name": entry.name, "version": entry.version}
    removed_at = {"removed_at": entry.removed_at.isoformat()} if entry.removed_at else {}
    return {
        **known,
        "tags": list(entry.tags),
        **removed_at,
        **({"problem": str(entry.problem)} if entry.problem else {}),
    }


def _cells(entry: Entry) -> tuple[object, ...]:
    one = entry.record
    if one is None:
        return ("–", "–", "–", "–", "damaged")
    holds = f"{format_count(one.rows)} rows" if one.format == "table" else f"{format_count(one.tokens)} tokens"
    state = f"removed {entry.removed_at:%Y-%m-%d %H:%M}" if entry.removed_at else ""
    vocabulary = one.tokenizer.vocabulary if one.tokenizer else None
    return (f"{one.created_at:%Y-%m-%d %H:%M}", holds, one.documents or None, vocabulary, state)


def _amount(record: DatasetVersion, split: Split) -> str:
    if split.rows:
        return f"{format_count(split.rows)} rows"
    return f"{format_count(split.tokens)} tokens of {split.documents} {_documents(record)}"


def _documents(record: DatasetVersion) -> str:
    return "conversations" if record.chat else "documents"


def _chat(split: ChatSplit, context: int) -> str:
    """What rows of conversations hold."""
    padding = split.padding / max(1, split.rows * context)
    cut = [f"{split.cut} conversations cut at the end of a row"] if split.cut else []
    dropped = [f"{split.dropped} left out"] if split.dropped else []
    counts = [f"{format_count(split.rows)} rows", f"{format_count(split.trained)} tokens are trained on"]
    return ", ".join([*counts, f"{padding:.1%} is padding", *cut, *dropped])


def _change(change: Change) -> str:
    before, after = ("–" if one is None else format_count(one) for one in change)
    return before if before == after else f"{before} → {after}"


app.add_typer(copies.app)
app.add_typer(tiers.app)
