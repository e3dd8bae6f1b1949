"""Shards become batches: one order for any number of readers, read ahead, and proven afterwards."""
