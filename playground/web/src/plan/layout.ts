/** Places the nodes of a plan: each in a column right of all that it waits for, long columns broken into several. */

import type { Plan, PlanNode } from "../api";

export const NODE = { width: 172, height: 60 };
const GAP = { x: 34, y: 12, operation: 30 };
const MARGIN = 14;
const HEAD = 26;
const MAX_ROWS = 10;

export interface Placed {
  key: string;
  x: number;
  y: number;
  /** Absent for a step that is left out of the plan. */
  node?: PlanNode;
  name: string;
  note: string;
}

export interface Edge {
  from: number;
  to: number;
  kind: "needs" | "follows" | "fallback";
}

export interface Layout {
  width: number;
  height: number;
  placed: Placed[];
  edges: Edge[];
  heads: { y: number; text: string }[];
}

/** Return how many nodes come before each one on its longest chain of prerequisites; a fallback comes after its primary. */
export function layers(nodes: PlanNode[]): Map<number, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const before = new Map(nodes.map((node) => [node.id, [...node.needs, ...node.follows].filter((id) => byId.has(id))]));
  for (const edge of fallbackEdges(nodes)) if (byId.has(edge.to)) before.get(edge.to)?.push(edge.from);
  const found = new Map<number, number>();
  const depth = (id: number, above: Set<number>): number => {
    const known = found.get(id);
    if (known !== undefined) return known;
    if (above.has(id)) return 0; // a fallback may need what its primary needs, never the primary; this only ends bad input
    const inner = new Set(above).add(id);
    const value = Math.max(0, ...(before.get(id) ?? []).map((other) => depth(other, inner) + 1));
    found.set(id, value);
    return value;
  };
  for (const node of nodes) depth(node.id, new Set());
  return found;
}

function fallbackEdges(nodes: PlanNode[]): Edge[] {
  return nodes.flatMap((node) =>
    node.fallback.flatMap((each): Edge[] => ("node" in each ? [{ from: node.id, to: each.node, kind: "fallback" }] : [])),
  );
}

export function edges(nodes: PlanNode[]): Edge[] {
  return nodes.flatMap((node): Edge[] => [
    ...node.needs.map((from): Edge => ({ from, to: node.id, kind: "needs" })),
    ...node.follows.map((from): Edge => ({ from, to: node.id, kind: "follows" })),
    ...fallbackEdges([node]),
  ]);
}

/** Order a column by where its prerequisites stand, so that edges cross less (the barycentre heuristic of Sugiyama's method). */
function ordered(column: PlanNode[], rows: Map<number, number>): PlanNode[] {
  const wish = (node: PlanNode) => {
    const known = [...node.needs, ...node.follows].map((id) => rows.get(id)).filter((row) => row !== undefined);
    return known.length ? known.reduce((sum, row) => sum + row, 0) / known.length : Number.MAX_SAFE_INTEGER;
  };
  return column
    .map((node, index) => ({ node, index, at: wish(node) }))
    .sort((a, b) => a.at - b.at || a.index - b.index)
    .map(({ node }) => node);
}

export function layout(plan: Plan): Layout {
  const placed: Placed[] = [];
  const heads: Layout["heads"] = [];
  const shown = new Set<number>();
  let top = MARGIN;
  let right = 0;
  for (const operation of plan.operations) {
    heads.push({ y: top + 12, text: operation.arguments ? `${operation.operation}(${operation.arguments})` : operation.operation });
    const nodes = operation.nodes.filter((node) => !shown.has(node.id)); // operations may share a node; it is drawn once
    nodes.forEach((node) => shown.add(node.id));
    const depth = layers(nodes);
    const columns: PlanNode[][] = [];
    for (const node of nodes) (columns[depth.get(node.id) ?? 0] ??= []).push(node);
    const rows = new Map<number, number>();
    let x = MARGIN;
    let bottom = top + HEAD;
    const put = (at: number, row: number, item: Omit<Placed, "x" | "y">) => {
      const y = top + HEAD + row * (NODE.height + GAP.y);
      placed.push({ ...item, x: at, y });
      bottom = Math.max(bottom, y + NODE.height);
      right = Math.max(right, at + NODE.width);
    };
    for (const column of columns) {
      ordered(column ?? [], rows).forEach((node, index) => {
        rows.set(node.id, index);
        const at = x + Math.floor(index / MAX_ROWS) * (NODE.width + GAP.y);
        put(at, index % MAX_ROWS, { key: `${node.id}`, node, name: node.step, note: place(node) });
      });
      x += Math.ceil((column?.length ?? 0) / MAX_ROWS) * (NODE.width + GAP.y) - GAP.y + GAP.x;
    }
    const leftOut = [
      ...operation.pruned.map((each) => ({ name: each.step, note: `${place(each)} · not asked for` })),
      ...operation.not_applicable.map((name) => ({ name, note: "overlay does not apply" })),
    ];
    const below = Math.min(MAX_ROWS, Math.max(0, ...columns.map((column) => column?.length ?? 0)));
    const perRow = Math.max(1, columns.length);
    leftOut.forEach((each, index) => {
      const at = MARGIN + (index % perRow) * (NODE.width + GAP.x);
      put(at, below + Math.floor(index / perRow), { key: `${operation.operation}-${each.name}-${heads.length}`, ...each });
    });
    top = bottom + GAP.operation;
  }
  return { width: right + MARGIN, height: top - GAP.operation + MARGIN, placed, edges: edges(plan.operations.flatMap((each) => each.nodes)), heads };
}

function place(step: { type: string; source: string | null }): string {
  return step.source && step.source !== step.type ? `${step.type} · ${step.source}` : step.type;
}
