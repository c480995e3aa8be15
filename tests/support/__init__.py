"""What several tests use: a stream of their own with its services as real processes."""
