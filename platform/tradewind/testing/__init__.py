"""Servers and faults that stand in for the world outside, for our tests and for those of our users."""
