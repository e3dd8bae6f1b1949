"""Rich display in notebooks: after `%load_ext tradewind.notebook`, runs, sweeps, datasets and others show themselves.

A run shows its loss curve, a sweep its trials and their curves, everything else a small table.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Protocol

from tradewind.datasets import Dataset
from tradewind.registry import Model
from tradewind.reports import loss_curve
from tradewind.units import format_bytes, format_count


class Displays(Protocol):
    """The part of IPython that is used here."""

    def for_type_by_name(self, module: str, name: str, function: Any) -> Any: ...


def load_ipython_extension(ipython: Any) -> None:
    """What `%load_ext tradewind.notebook` calls."""
    register(ipython.display_formatter.formatters["text/html"])


def register(html: Displays) -> None:
    """Teach an HTML formatter our nouns. Names instead of classes, so that nothing heavy is imported for it."""
    html.for_type_by_name("tradewind.datasets.dataset", "Dataset", dataset_html)
    html.for_type_by_name("tradewind.registry.models", "Model", model_html)
    html.for_type_by_name("tradewind.training.run", "Run", run_html)
    html.for_type_by_name("tradewind.tuning.sweep", "Sweep", sweep_html)
    html.for_type_by_name("tradewind.serving.endpoint", "Endpoint", endpoint_html)


def dataset_html(dataset: Dataset) -> str:
    splits = {name: f"{format_count(split.tokens)} tokens" for name, split in dataset.record.splits.items()}
    return table(f"dataset {dataset.reference}", {"documents": dataset.record.documents, **splits})


def model_html(model: Model) -> str:
    record = model.record
    return table(
        f"model {model.reference}",
        {
            "parameters": f"{record.parameters:,}",
            "context": f"{record.context} tokens",
            "held-out loss": record.heldout_loss,
            "size": format_bytes(record.num_bytes),
            "from": ", ".join(record.parents),
        },
    )


def run_html(run: Any) -> str:
    summary, end = run.summary(), run.end
    facts = {
        "status": summary.status,
        "dataset": summary.dataset,
        "steps": summary.steps,
        "held-out loss": summary.heldout_loss,
        "bigram baseline": end.bigram_loss if end else None,
    }
    curve = loss_curve(run.metrics(), run.checkpoints, bigram_loss=end.bigram_loss if end else None)
    return table(f"run {summary.run}", facts) + curve


def sweep_html(sweep: Any) -> str:
    from tradewind.tuning.report import sweep_fragment

    return sweep_fragment(sweep.standing())


def endpoint_html(endpoint: Any) -> str:
    state = {"status": "up" if endpoint.is_up else "down", "url": endpoint.url, "model": endpoint.record.model}
    return table(f"endpoint {endpoint.name}", state)


def table(title: str, facts: Mapping[str, object]) -> str:
    """Names and values as an HTML table, escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(_text(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption>{rows}</table>"


def _text(value: object) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
