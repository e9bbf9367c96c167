"""What the accounts are worth, what they may buy, and what they are told of it.

accounting       worth, gains and rates of exchange
credit           may an account have the position that an order would make
account_values   account values and portfolio rows
preview          the answer to a whatIf order
statement        the account statement of the next morning
"""
