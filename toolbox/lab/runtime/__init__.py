"""Real processes as containers. Nothing is imported here: the shim starts for each container and must be quick."""
