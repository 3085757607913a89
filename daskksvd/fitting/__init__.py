"""Learning a dictionary: from an array to a result."""
