"""May it leave: the rules that an order must keep, and what they need to know of the world."""
