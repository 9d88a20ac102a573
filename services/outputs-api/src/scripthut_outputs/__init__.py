"""Collect what tasks wrote on the cluster and serve it: files, summaries, pages."""
