"""Models by name: immutable versions with their files, and aliases that point at them."""

from tradewind.registry.models import Model, Models

__all__ = ["Model", "Models"]
