"""The embedded stack: Kafka, PostgreSQL and a MongoDB-wire server from wheels and jars, no Docker and no root."""
