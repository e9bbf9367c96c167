"""The service for other programs: HTTP and a stream of news, in a thread of the daemon.

`listening` has the address before the daemon takes its lease, which names it; `serving` answers
while the daemon runs. `operations` is the one table of what can be asked: routes, rights and the
OpenAPI document are made from it.
"""
