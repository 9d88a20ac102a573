"""Turn a task into the batch script that its scheduler runs. Pure."""
