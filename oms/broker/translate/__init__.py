"""Wire fields to facts; see `messages` for what is promised."""
