"""Learning a dictionary: passes over the rows, updates on the driver."""
