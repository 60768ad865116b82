"""The playground's endpoints, recorded runs and examples; in development mode alone."""
