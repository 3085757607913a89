"""Words of atoms through a text encoder: prompts that come near to captions."""
