"""What both services share: the events they exchange and the ports they work through."""
