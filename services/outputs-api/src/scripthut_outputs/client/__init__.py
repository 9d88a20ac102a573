"""What `scripthut-outputs` does in a terminal for people and scripts: it asks a running service over HTTP.

Nothing of the server side is imported here: neither the catalog nor the web framework. `rendering` is, for `preview`.
"""
