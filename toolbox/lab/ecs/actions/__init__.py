"""The ECS actions, one function each: request in, answer out."""
