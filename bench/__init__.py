"""The benchmark: what a start costs, side by side with what one would do otherwise."""
