"""What a person sees: progress, results, settings, the contact sheet, log lines, exit codes.

Rule 1: colour repeats what a word says; it never carries a meaning alone.
Rule 2: names come from strangers: no markup is read in them, and no control character reaches the terminal.
Rule 3: output that is not a terminal is a log: no line is drawn twice, and progress and summary are never folded.
"""
