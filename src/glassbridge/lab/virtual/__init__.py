"""What the simulations stand on: time that jumps, the event loops that turn by it, the processes that live in it."""
