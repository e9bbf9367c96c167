"""Ours beside theirs: what comparing our books with the broker's answers and statements finds."""
