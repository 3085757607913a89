"""The dashboard: screens that the address names, their layout and callbacks, served on this machine."""
