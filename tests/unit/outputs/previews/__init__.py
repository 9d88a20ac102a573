"""Previews: what is shown of any bytes, and that it is safe, balanced and bounded."""
