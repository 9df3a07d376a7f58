"""Every call to libvips: opening, resampling, colours, strips, saving. No other folder calls pyvips."""
