"""Parse a listing of the cluster's files; choose what to keep and say why not. Pure."""
