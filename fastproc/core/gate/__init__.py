"""Judges a photo by its bytes alone, before any decoder sees it: one file for each family of formats."""
