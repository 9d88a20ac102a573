"""Answer whether an actor may do something with a run. Pure."""
