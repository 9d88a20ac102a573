"""Render what authors wrote, once per content, where it can do no harm."""
