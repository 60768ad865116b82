/** When each node of a run waited, ran, was tried again and ended, on one axis; what the answer waited for is marked. */

import { useMemo } from "react";

import type { Plan, Trace, TraceNode } from "../api";
import { end, ending, lookOf, milliseconds, nodesOf, SIGNS } from "../plan/words";

interface Props {
  plan: Plan;
  trace: Trace;
  selected: number | null;
  onSelect: (id: number | null) => void;
}

export function Timeline({ plan, trace, selected, onSelect }: Props) {
  const planned = useMemo(() => new Map(nodesOf(plan).map((node) => [node.id, node])), [plan]);
  const nodes = [...trace.nodes].sort((a, b) => a.start_ms - b.start_ms || a.id - b.id);
  const total = Math.max(trace.duration_ms, ...nodes.map(end), 0.001);
  const idle = nodesOf(plan).filter((node) => !nodes.some((each) => each.id === node.id));
  return (
    <section className="timeline" aria-label="Timeline">
      <div className="timeline-axis" aria-hidden="true">
        <span className="timeline-label" />
        <span className="timeline-ticks">
          {[0, 0.25, 0.5, 0.75, 1].map((part) => <span key={part} style={{ left: `${part * 100}%` }}>{milliseconds(total * part)}</span>)}
        </span>
      </div>
      <ol>
        {nodes.map((node) => {
          const step = planned.get(node.id);
          const look = step ? lookOf(step, trace, node) : node.outcome;
          return (
            <li key={node.id}>
              <button
                type="button"
                className={`row look-${look}${node.is_critical ? " is-critical" : ""}`}
                aria-pressed={node.id === selected}
                aria-label={sentence(node)}
                data-row={node.id}
                onClick={() => onSelect(node.id === selected ? null : node.id)}
              >
                <span className="timeline-label"><b aria-hidden="true">{SIGNS[look]}</b>{node.step}{step?.role === "fallback" && <i> fallback</i>}</span>
                <span className="timeline-track"><Bar node={node} total={total} /></span>
              </button>
            </li>
          );
        })}
      </ol>
      {idle.length > 0 && <p className="timeline-idle">Not needed: {idle.map((node) => node.step).join(", ")}</p>}
      <p className="timeline-legend" aria-hidden="true">
        <span className="key key-critical" />critical path <span className="key key-run" />running <span className="key key-wait" />waiting for a place
        <span className="key key-retry" />tried again <span className="key key-slack" />slack
      </p>
    </section>
  );
}

function Bar({ node, total }: { node: TraceNode; total: number }) {
  const percent = (value: number) => `${(value / total) * 100}%`;
  const slack = Math.min(node.slack_ms, Math.max(0, total - end(node)));
  return (
    <>
      {node.wait_ms > 0 && <span className="bar bar-wait" style={{ left: percent(node.start_ms), width: percent(node.wait_ms) }} />}
      <span className="bar bar-run" style={{ left: percent(node.start_ms + node.wait_ms), width: percent(Math.max(node.run_ms, 0)) }} />
      {(node.retries_ms ?? []).map((at) => <span key={at} className="bar-retry" style={{ left: percent(at) }} />)}
      {slack > 0 && <span className="bar bar-slack" style={{ left: percent(end(node)), width: percent(slack) }} />}
      <span className={`bar-text${isInside(node, total) ? " is-inside" : ""}`} style={textPlace(node, total)}>
        {milliseconds(node.duration_ms)}
        <span className="bar-more">{node.is_critical ? " · critical" : ` · slack ${milliseconds(node.slack_ms)}`}</span>
      </span>
    </>
  );
}

/** The times stand right of a bar, or left of it, or inside, wherever there is room. */
function textPlace(node: TraceNode, total: number): { left: string } | { right: string } {
  if (end(node) / total <= 0.6) return { left: `${(end(node) / total) * 100}%` };
  return isInside(node, total) ? { right: `${(1 - end(node) / total) * 100}%` } : { right: `${(1 - node.start_ms / total) * 100}%` };
}

function isInside(node: TraceNode, total: number): boolean {
  return end(node) / total > 0.6 && node.start_ms / total < 0.4;
}

function sentence(node: TraceNode): string {
  return [
    `${node.step}: ${ending(node)}`,
    `began at ${milliseconds(node.start_ms)}`,
    node.wait_ms > 0 && `waited ${milliseconds(node.wait_ms)}`,
    `took ${milliseconds(node.duration_ms)}`,
    node.attempts > 1 && `${node.attempts} attempts`,
    node.is_critical ? "on the critical path" : `slack ${milliseconds(node.slack_ms)}`,
  ].filter(Boolean).join(", ");
}
