"""Schedulers: build the command, parse the answer. Text in, text out."""
