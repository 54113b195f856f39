"""Real drizzle-kit, for tests."""
