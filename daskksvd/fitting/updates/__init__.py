"""Ways to update a dictionary: after every mini-batch, after every pass, or atom by atom (K-SVD)."""
