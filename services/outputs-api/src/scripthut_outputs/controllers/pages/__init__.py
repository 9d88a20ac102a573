"""The web pages: what people see, rendered on the server, complete without JavaScript."""
