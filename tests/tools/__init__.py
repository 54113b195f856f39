"""Real runs of the tools that services push with."""
