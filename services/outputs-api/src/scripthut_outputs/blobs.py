"""Bytes by SHA-256, on disk."""
