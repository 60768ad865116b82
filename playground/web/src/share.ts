/** A document in the hash of the page's address, which no server ever gets. Headers are never part of it. */

export interface Shared {
  query: string;
  variables: string;
}

export function toHash({ query, variables }: Shared): string {
  const parameters = new URLSearchParams({ query });
  if (variables.trim()) parameters.set("variables", variables);
  return `#${parameters}`;
}

export function fromHash(hash: string): Shared | null {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const query = parameters.get("query");
  return query ? { query, variables: parameters.get("variables") ?? "" } : null;
}
