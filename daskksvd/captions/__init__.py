"""Captions as people have them: one reader for `embed`, `label` and `view`."""
