"""A folder → texts → YAML documents with places → decoded documents."""
