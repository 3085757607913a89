"""Dictionaries in the files of autoencoder packages, and theirs as a dictionary.

`writing.export` and `reading.read` know the layouts; each lies in a module of `layouts`. Importing
`daskksvd.interop.saelens` teaches SAELens exact pursuit.
"""
