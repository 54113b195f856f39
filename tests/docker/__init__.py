"""What is built for a container engine, on a real one."""
