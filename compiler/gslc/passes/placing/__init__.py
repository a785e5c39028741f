"""The rooms behind passes/place.py: the problem in integers, the state of a fleet, and the searches over it."""
