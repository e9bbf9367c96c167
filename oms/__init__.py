"""An event-sourced order management subsystem for Interactive Brokers."""
