"""Copies of datasets in other places: where they are, which one is read, and what that may cost."""
