"""The broker room: the only folder that imports ib_async.

`gateway.Gateway` is what the daemon constructs.
"""
