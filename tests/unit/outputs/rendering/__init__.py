"""Rendering: what authors write becomes safe HTML."""
