"""What IB does behind its gateway.

It knows no socket and no session: the gateway puts in what clients ask, and is told through
`floor.Notify` what they have a right to hear. A part takes the `Floor` and the functions that it
needs from parts above it in this list, never the other way round:

    what is traded
        contracts       contracts, how clients describe them, the prices they may have (pure)
        listings        the contracts that exist (pure)
        catalogue       looking them up (pure)
        hours           when the exchanges trade (pure)
        market          quotes from a seed (pure)
    what is kept
        ledger          positions, cash flows, margin and commission (pure)
        orders          orders; `executions` beside them
        live_orders     what connects the orders that live, and their `exposure`
        books           all of it in one SQLite file, which survives a restart; `stored` is how
    rules
        matching        when an order trades, and at what price (pure)
        checks          what is refused before it reaches the market (pure)
        conditions      conditions of an order (pure)
    what all parts share
        floor           settings, clock, books, market, catalogue, and who is told
        combos          combinations: their legs, and what they cost
        accounting      what the accounts are worth
        credit          may an account have the position that an order would make
        open_markets    which markets are open now
        waiting         what keeps an order from working
    what happens
        back_office     executions, and what they do to positions and cash; corrections
        linked_orders   children and parents, groups that cancel one another
        order_life      an order from its permanent id to its end
        intake          what clients ask: new orders, new terms, cancels
        adjustments     changes of a position that nobody traded
        derivatives     exercise, assignment, expiry
        corporate       splits, other symbols, transfers
        day             opening, closing, midnight, settlement
    what is told
        account_values  account values and portfolio rows
        preview         the answer to a whatIf order
        statement       the account statement of the next morning
    broker              the parts, put together
"""
