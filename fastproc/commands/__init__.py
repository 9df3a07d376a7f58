"""One file a command; `cli` lists them, `running` runs them, `orders` is what those that order something share."""
