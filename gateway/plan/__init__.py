"""Planning: the selection of a document → a Plan of nodes and edges, which can be printed as text, JSON and diagrams (paper 5.3)."""
