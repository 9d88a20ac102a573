"""Every query and write of the metadata."""
