"""The command line: parses arguments, runs the command, reports failures, exits."""
