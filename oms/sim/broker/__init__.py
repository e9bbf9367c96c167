"""See docs/internals/architecture.md for what belongs in this room."""
