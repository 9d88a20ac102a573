"""The shell over SSH."""
