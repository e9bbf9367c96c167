"""What passes on the socket, understood and spelled as at IB. Pure: no socket, no clock, no books.

A part knows those above it in this list:

    errors          bytes that no client may send
    versions        the server versions spoken here, and how a client announces its own
    frames          a byte stream cut into payloads; a payload as fields
    fields          the text of one field: numbers, flags, names
    layout          a field list at every version, written once for both directions
    order_parts     the parts that several messages share: contract, legs, scale, algo
    numbers         which fields of a request are numbers and flags
    requests        every client message by name
    messages        every server message by name
"""
