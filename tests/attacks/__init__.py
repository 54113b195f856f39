"""What people who mean harm try, each with a control in which it works."""
