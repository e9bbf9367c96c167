"""The rules of an order. All pure.

checks       what is refused before an order reaches the market
conditions   conditions of an order
matching     when an order trades, and at what price
"""
