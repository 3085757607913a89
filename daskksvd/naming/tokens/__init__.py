"""Words for atoms by what a text encoder makes of them."""
