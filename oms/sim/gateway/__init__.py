"""What clients meet: sockets, sessions, who hears what, and what faults make of it.

A part takes what it needs as a value and knows none of the parts below it in this list; the
gateway composes:

    observers       who watches, and what happened (for scenarios and tests)
    upstream        the line to IB: whether it is up, and what cannot come while it is not
    faults          what goes wrong on purpose, for which messages, how often
    link            one direction of one client: what is delayed, held, reordered or cut there
    slow_reader     what a socket brings, at so many bytes a second
    rate_limit      how many messages a second a client may send
    session         one client: its socket, its two links, and the host that it reports to
    clients         the sessions, and the client ids in use
    known           what the gateway knows of IB, in an outage too
    outage          the loss of the line to IB and its end, as clients notice it
    render          orders, executions and contracts as values of messages (pure)
    reports         orders and executions told to one session
    subscriptions   what a session has subscribed to
    live_bars       bars that are told as they end
    pacing          how often history may be asked for
    history_questions what a historical question asks for
    history_answers bars, ticks and schedules of the past
    depth           market depth
    contract_answers look-ups, searches, chains, exchanges
    option_ticks    what the model says of an option
    generic_ticks   what may be asked for beside a quote
    quote_answers   quotes, depth
    service_answers scanners, news, windows, advisors, exercises
    account_answers positions, account values, P&L
    answers         every request that only reads
    gateway_clock   a clock that flushes after what fell due
    gateway         the port, the requests that change something, who hears what
"""
