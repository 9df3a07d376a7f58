"""HDR gain maps of JPEG files: read in three dialects, checked, written anew in one."""
