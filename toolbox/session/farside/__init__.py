"""What the relay is made of: the standard library, our frames, and nothing that is slow to import."""
