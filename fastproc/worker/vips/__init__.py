"""Every call to libvips: opening, resampling, colours, strips, saving. Nothing else imports pyvips."""
