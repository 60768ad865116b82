"""What a document selects → a Plan: nodes and edges, as data, as text and as diagrams (paper 5.3)."""
