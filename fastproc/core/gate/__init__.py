"""Judges a photo by its bytes alone, before any decoder sees it: one file a family of formats."""
