"""Photos as local files: found, read, and their results written and told. For `fastproc process`."""
