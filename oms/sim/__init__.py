"""The gateway simulator: speaks the TWS wire protocol over TCP and imports nothing of the rest of oms."""
