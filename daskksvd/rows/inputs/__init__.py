"""Arrays of every kind that `daskksvd.fit` takes, each read as its library has it."""
