"""The pictures of the documentation: the real application with exhibits in it, in a real browser."""
