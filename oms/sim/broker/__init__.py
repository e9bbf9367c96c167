"""What IB does behind its gateway.

It knows no socket and no session: the gateway puts in what clients ask, and is told through
`floor.Notify` what they have a right to hear. Each part takes the `Floor` and the functions that it
needs from parts above it in this list, never the other way round:

    exchange        what is traded, when, and at what price
    books           what is kept
    rules           what is refused, when an order may work, when it trades
    floor           what all parts below share: settings, clock, the three above, who is told
    bar_sizes       how long a bar is, and where one begins
    history         bars and ticks of what was
    combos          combinations: their legs, and what they cost
    accounts        what the accounts are worth, what they may buy, what they are told of it
    open_markets    which markets are open now
    waiting         what keeps an order from working
    back_office     executions, and what they do to positions and cash; corrections
    linked_orders   children and parents, groups that cancel one another
    order_life      an order from its permanent id to its end
    intake          what clients ask: new orders, new terms, cancels
    adjustments     changes of a position that nobody traded
    derivatives     exercise, assignment, expiry
    corporate       splits, other symbols, transfers
    day             opening, closing, midnight, settlement
    broker          the parts, put together
"""
