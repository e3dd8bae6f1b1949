"""The command line: `tradewind`, short `tw`. Thin: each command is a call of the SDK and a table."""

from tradewind.cli.app import app, main

__all__ = ["app", "main"]
