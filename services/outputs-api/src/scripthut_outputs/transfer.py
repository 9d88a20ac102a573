"""The byte stream of one batch: names, sizes, contents. Pure."""
