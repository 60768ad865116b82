"""SQL text with placeholders, and the rows and values that come back."""
