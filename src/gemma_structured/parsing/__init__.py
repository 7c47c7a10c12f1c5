"""Text from a model → values: incremental reading, repair, validation."""
