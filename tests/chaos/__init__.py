"""The pair while its parts die."""
