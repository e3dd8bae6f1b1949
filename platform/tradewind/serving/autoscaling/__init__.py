"""How many replicas an endpoint has: policies, a simulator to compare them in, and their way into Ray Serve."""

from tradewind.serving.autoscaling.limits import Limits
from tradewind.serving.autoscaling.policies import POLICIES, policy
from tradewind.serving.autoscaling.signals import Decision, Policy, ReplicaSignal, Signals

__all__ = ["POLICIES", "Decision", "Limits", "Policy", "ReplicaSignal", "Signals", "policy"]
