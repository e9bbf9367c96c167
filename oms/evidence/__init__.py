"""What proves to an outsider that the log is what was appended: keys, signed checkpoints, proofs.

The checking side is `oms.verify`, one file that imports nothing of the program; this is the side
that makes what it checks.
"""
