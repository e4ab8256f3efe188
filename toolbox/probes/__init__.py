"""One file a probe, one line in the registry; a probe yields Results and never prints."""
