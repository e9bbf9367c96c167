"""What is traded, when, and at what price. Nothing here knows of an order.

contracts   contracts, how clients describe them, the prices they may have (pure)
identifiers made-up ISIN and CUSIP (pure)
listings    the contracts that exist (pure)
catalogue   looking them up (pure)
hours       when the exchanges trade (pure)
sessions    the sessions of a contract, day by day (pure)
past        what prices did before the first quote (pure)
valuation   what an option is worth (pure)
market      quotes from a seed, and what becomes of them
"""
