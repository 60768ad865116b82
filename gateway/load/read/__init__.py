"""A folder → texts → YAML with places → decoded documents."""
