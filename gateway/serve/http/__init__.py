"""GraphQL over HTTP: an HTTP request → a GraphQL request, and its body → an HTTP response."""
