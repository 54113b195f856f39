"""What the container, its files and the registry say, read and checked before anything connects."""
