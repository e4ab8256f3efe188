"""The AWS API as the lab plays it: who asks, may they, and which part answers."""
