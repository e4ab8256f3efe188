"""The tracker itself, small but real: one program that plays each of the eight services, by argument."""
