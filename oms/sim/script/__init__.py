"""What a person makes happen at a running gateway, and recordings of a real one.

A part knows those above it in this list:

    arguments       the fields of one command, with their types and bounds (pure)
    context         what a verb works with: the gateway, and the finding of what a command names
    verb            a verb: its name, its fields, what it does
    book_verbs      looking at the books, the clients and the clock
    market_verbs    quotes, the session, settings, a stepped clock
    position_verbs  cash, and positions that change without a trade
    order_verbs     orders and executions
    socket_verbs    sockets, a restart, the line to IB
    message_verbs   messages and bytes, past every fault
    fault_verbs     faults put in force and taken back
    commands        the table of all verbs, and the doing of one command
    control         the line protocol for live use
    scenarios       files that say what happens, and when (pure); `player` plays them
    transcripts     recordings of a real gateway: `recorder` writes them, `replay` plays them back
    reference       the generated pages
"""
