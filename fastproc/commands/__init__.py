"""The command line: argv in `cli`, and one file a command."""
