"""A VPC in a box for drills, demos and tests; never in the production image."""
