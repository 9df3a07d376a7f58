"""Finds the JPEG preview in a camera's raw file by bytes alone: one file for each family of containers."""
