"""Endpoints on Ray Serve: an engine behind the OpenAI API, metered into the ledger."""

from tradewind.serving.endpoint import Endpoint, check, check_port, deploy, every, find, free_port

__all__ = ["Endpoint", "check", "check_port", "deploy", "every", "find", "free_port"]
