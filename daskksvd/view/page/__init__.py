"""A result as one page of HTML that needs nothing else."""

REPORT_ATOMS = 256
"""Atoms with images and pictures in a report, when the user sets no number."""
