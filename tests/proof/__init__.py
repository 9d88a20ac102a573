"""The production shape on a real Docker daemon: built, started, upgraded under load, backed up, and compared."""
