"""Work on the machines of a Ray cluster; nothing else of tlfeat knows Ray.

Workers get what they need through the cluster's object store: functions, the source of the
pictures, networks and matrices, never a path that only this machine has.
"""
