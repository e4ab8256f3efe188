"""From the running api service to a shell in a temporary task beside it, and nothing left afterwards."""
