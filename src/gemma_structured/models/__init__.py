"""What users hold: models."""
