/** What the gateway's development endpoints give, and the calls that ask them. */

export type Role = "required" | "optional" | "link" | "fallback";
export type OutcomeKind = "success" | "failure" | "skipped";
export type Fallback = { node: number } | { stale_ms: number } | { value: unknown };

export interface PlanNode {
  id: number;
  step: string;
  arguments: string;
  batch: number | null;
  type: string;
  source: string | null;
  call: string;
  role: Role;
  timeout_ms: number;
  attempts: number;
  needs: number[];
  follows: number[];
  when: string | null;
  fallback: Fallback[];
}

export interface LeftOut {
  step: string;
  type: string;
  source: string | null;
}

export interface PlannedOperation {
  operation: string;
  arguments: string;
  deadline_ms: number;
  critical_path_ms: number;
  nodes: PlanNode[];
  pruned: LeftOut[];
  not_applicable: string[];
}

export interface Plan {
  operations: PlannedOperation[];
}

export interface TraceNode {
  id: number;
  step: string;
  start_ms: number;
  wait_ms: number;
  run_ms: number;
  duration_ms: number;
  attempts: number;
  retries_ms?: number[];
  outcome: OutcomeKind;
  slack_ms: number;
  is_critical: boolean;
  reason?: string;
  served_by?: string;
}

export interface Trace {
  duration_ms: number;
  critical_path: string[];
  nodes: TraceNode[];
}

export interface RunError {
  code: string;
  step?: string;
  path?: (string | number)[];
  message?: string;
}

export interface RunSummary {
  id: string;
  at: string;
  tenant: unknown;
  operations: string[];
  outcome: "ok" | "degraded" | "partial" | "failed" | "refused" | "abandoned";
  duration_ms: number | null;
  variables: Record<string, unknown>;
  headers: Record<string, string>;
}

export interface Run extends RunSummary {
  query: string;
  plan?: Plan;
  trace?: Trace;
  errors?: RunError[];
}

export interface Example {
  operation: string;
  description: string | null;
  is_mutation: boolean;
  query: string;
  variables: Record<string, unknown>;
}

export interface Problem {
  place: { file: string; line: number; column: number };
  subject: string;
  message: string;
  code: string;
}

export interface Configuration {
  version: string;
  problems: Problem[];
}

/** A GraphQL request as GraphiQL makes it. */
export interface GraphQLParameters {
  query: string;
  operationName?: string | null | undefined;
  variables?: unknown;
}

export interface GraphQLProblem {
  message: string;
  locations?: { line: number; column: number }[];
}

const GRAPHQL_TYPES = { "content-type": "application/json", accept: "application/graphql-response+json, application/json;q=0.9" };

async function json<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

/** Send a request; `id` is that of its run. */
export async function send(parameters: GraphQLParameters, headers: Record<string, string>) {
  const init = { method: "POST", headers: { ...headers, ...GRAPHQL_TYPES }, body: JSON.stringify(parameters) };
  const response = await fetch("/graphql", init);
  return { id: response.headers.get("x-request-id") ?? "", body: await json<Record<string, unknown>>(response) };
}

/** Plan a request without running it. There is no plan where the document is not valid (yet). */
export async function fetchPlan(parameters: GraphQLParameters, headers: Record<string, string>, signal: AbortSignal) {
  const init = { method: "POST", headers: { ...headers, ...GRAPHQL_TYPES }, body: JSON.stringify(parameters), signal };
  return json<{ plan: Plan | null; problems: GraphQLProblem[] }>(await fetch("/playground/plan", init));
}

export async function fetchExamples(): Promise<Example[]> {
  return json<Example[]>(await fetch("/playground/examples"));
}

export async function fetchRuns(): Promise<RunSummary[]> {
  return json<RunSummary[]>(await fetch("/playground/runs"));
}

/** Return a run, or null when it has given way to newer ones, or was none: a request for the schema. */
export async function fetchRun(id: string): Promise<Run | null> {
  const response = await fetch(`/playground/runs/${encodeURIComponent(id)}`);
  return response.ok ? json<Run>(response) : null;
}

/** Run a run's request again, with the arguments and headers that the gateway has kept. */
export async function runAgain(id: string) {
  const init = { method: "POST", headers: { "graphql-require-preflight": "1" } };
  return json<{ id: string; body: unknown }>(await fetch(`/playground/runs/${encodeURIComponent(id)}/again`, init));
}
