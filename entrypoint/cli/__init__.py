"""The command line: what is asked, which command answers, and how the program ends."""
