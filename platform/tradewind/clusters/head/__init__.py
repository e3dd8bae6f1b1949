"""The head of a cluster on machines: what it knows is on its disk, and its processes are started again when they die.

`command` gives the start commands, `__main__` starts a head, `supervisor` watches it. On Kubernetes both are done by
KubeRay.
"""
