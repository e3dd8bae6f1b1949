"""The spot sentinel: one small process on each machine that hears from the cloud when the machine is taken away.

    python -m tradewind.clusters.sentinel

It tells whoever subscribes (`tradewind.clusters.notices`), asks Ray to drain the node, and ends Ray on it when its time
is up. Ray 2.60 neither moves the actors of a drained node nor ends it at the deadline (measured), so both are needed.
"""
