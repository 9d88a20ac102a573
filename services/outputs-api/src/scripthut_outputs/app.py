"""Put the controllers together into the ASGI application."""
