"""What the broker keeps, in one SQLite file, which survives a restart.

books         the file, and all of it that is in memory
ledger        positions, cash flows, margin and commission (pure)
orders        orders; `executions` beside them
live_orders   what connects the orders that live
exposure      what they may still buy and sell
tape          what prices did, tick by tick
stored        how a record is written
"""
