"""The SSM data channel as a transport: codec, ordered stream, client, terminal, and the relay on the far side."""
