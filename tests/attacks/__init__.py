"""What people who mean harm try, each with a control that shows that the attack works undefended."""
