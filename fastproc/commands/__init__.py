"""One file a command; `cli` lists them, `running` runs them."""
