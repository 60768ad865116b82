"""The playground's endpoints, recorded runs and examples; only in development mode."""
