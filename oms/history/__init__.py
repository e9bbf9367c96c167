"""Every question about the past: what to ask with, how it is found, and what it is found by.

`query` is what can be asked, `search` answers it, `names` finds an order by any of its names. All
of it reads the log; what makes it fast is kept beside the log (`side`) and can be lost.
"""
