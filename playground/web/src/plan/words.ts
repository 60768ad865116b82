/** A plan and a trace as sentences. */

import type { Plan, PlanNode, RunSummary, Trace, TraceNode } from "../api";

export function milliseconds(value: number): string {
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${value >= 10 ? Math.round(value) : Number(value.toFixed(1))} ms`;
}

export function nodesOf(plan: Plan): PlanNode[] {
  return [...new Map(plan.operations.flatMap((operation) => operation.nodes.map((node) => [node.id, node] as const))).values()];
}

/** Return how long each node of the critical path kept the answer waiting: without what it waited itself for a fallback. */
export function contributions(trace: Trace): { node: TraceNode; own: number }[] {
  const path = trace.nodes.filter((node) => node.is_critical).sort((a, b) => end(a) - end(b) || a.start_ms - b.start_ms);
  return path.map((node, index) => {
    const before = path[index - 1];
    const shared = before ? Math.max(0, end(before) - Math.max(before.start_ms, node.start_ms)) : 0;
    return { node, own: Math.max(0, node.duration_ms - shared) };
  });
}

export function end(node: TraceNode): number {
  return node.start_ms + node.duration_ms;
}

/** Name the step that the answer waited for longest. */
export function slowest(trace: Trace): { step: string; id: number; sentence: string } | null {
  const found = contributions(trace).reduce<{ node: TraceNode; own: number } | null>((a, b) => (a && a.own >= b.own ? a : b), null);
  if (!found) return null;
  const sentence = `${milliseconds(found.own)} of ${milliseconds(trace.duration_ms)}`;
  return { step: found.node.step, id: found.node.id, sentence };
}

export const OUTCOMES: Record<RunSummary["outcome"], { sign: string; text: string }> = {
  ok: { sign: "✓", text: "complete" },
  degraded: { sign: "↻", text: "complete, with a fallback" },
  partial: { sign: "◐", text: "partial" },
  failed: { sign: "✕", text: "failed" },
  refused: { sign: "⊘", text: "refused" },
  abandoned: { sign: "–", text: "client left" },
};

const REASONS: Record<string, string> = {
  condition: "its condition was false",
  missing_input: "a value that it needs never came",
  cancelled: "a required step failed first",
};

/** Say how a node ended. */
export function ending(node: TraceNode): string {
  if (node.served_by) return `served by ${node.served_by} (${node.reason ?? "fallback"})`;
  if (node.outcome === "success") return node.reason ? `success in part (${node.reason})` : "success";
  const reason = node.reason ? (REASONS[node.reason] ?? node.reason) : "";
  return `${node.outcome === "failure" ? "failed" : "skipped"}${reason ? `: ${reason}` : ""}`;
}

/** Which shape and sign a node has. */
export type Look = "planned" | "idle" | "success" | "rescued" | "failure" | "skipped";

export function lookOf(node: PlanNode, trace: Trace | undefined, traced: TraceNode | undefined): Look {
  if (!trace) return node.role === "fallback" ? "idle" : "planned";
  if (!traced) return "idle";
  return traced.served_by ? "rescued" : traced.outcome;
}

export const SIGNS: Record<Look, string> = { planned: "", idle: "", success: "✓", rescued: "↻", failure: "✕", skipped: "–" };

/** Return the nodes on the longest chain of timeouts of each operation: what the answer waits for at worst. */
export function longestChain(plan: Plan): Set<number> {
  const chain = new Set<number>();
  for (const operation of plan.operations) {
    const ends = new Map<number, { total: number; before: number | null }>();
    for (const node of operation.nodes.filter((each) => each.role !== "fallback")) {
      const before = [...node.needs, ...node.follows].filter((id) => ends.has(id));
      const last = before.reduce<number | null>((a, b) => (a !== null && total(ends, a) >= total(ends, b) ? a : b), null);
      ends.set(node.id, { total: (last === null ? 0 : total(ends, last)) + node.timeout_ms, before: last });
    }
    let current = [...ends.keys()].reduce<number | null>((a, b) => (a !== null && total(ends, a) >= total(ends, b) ? a : b), null);
    while (current !== null) {
      chain.add(current);
      current = ends.get(current)?.before ?? null;
    }
  }
  return chain;
}

function total(ends: Map<number, { total: number }>, id: number): number {
  return ends.get(id)?.total ?? 0;
}
