"""Compiled inner loops. These modules import NumPy and Numba, nothing else."""
