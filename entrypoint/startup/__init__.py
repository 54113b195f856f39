"""The container start: a file for each step, `start` is the table of contents."""
