"""What a person sees in a terminal: progress, tables, the contact sheet, log lines, exit codes."""
