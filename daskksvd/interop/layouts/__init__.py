"""One module for each package: how it lays weights into files, written and read."""
