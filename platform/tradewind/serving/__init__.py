"""Endpoints on Ray Serve: an engine behind the OpenAI API, metered into the ledger."""

from tradewind.serving.endpoint import PRELOAD, Endpoint, check, check_port, deploy, every, find, free_port

__all__ = ["PRELOAD", "Endpoint", "check", "check_port", "deploy", "every", "find", "free_port"]
