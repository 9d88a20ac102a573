"""Lists of further tasks that tasks write: read from the cluster, judged, fitted into their run. Pure."""
