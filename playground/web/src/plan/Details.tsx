/** All that is known of one node: how it is configured, and how it went. */

import type { Plan, PlanNode, Run } from "../api";
import { ending, milliseconds, nodesOf } from "./words";

export function Details({ plan, run, id, onClose }: { plan: Plan; run: Run | null; id: number; onClose: () => void }) {
  const nodes = nodesOf(plan);
  const node = nodes.find((each) => each.id === id);
  if (!node) return null;
  const traced = run?.trace?.nodes.find((each) => each.id === id);
  const names = (ids: number[]) => ids.map((each) => nodes.find((other) => other.id === each)?.step ?? each).join(", ");
  const messages = (run?.errors ?? []).filter((error) => error.step === node.step).map((error) => `${error.message ?? ""} [${error.code}]`);
  const rows: [string, string | false | null | undefined][] = [
    ["Call", node.call],
    ["Type", node.source ? `${node.type} · source ${node.source}` : node.type],
    ["Policy", `${node.role}${node.batch ? `, batches of ${node.batch}` : ""}`],
    ["Limit", `${milliseconds(node.timeout_ms)} an attempt, ${node.attempts} ${node.attempts === 1 ? "attempt" : "attempts"}`],
    ["Needs", names(node.needs)],
    ["Runs after", names(node.follows)],
    ["When", node.when],
    ["Fallback", node.fallback.map((each) => fallbackText(each, names)).join(", then ")],
    ["Ended", traced && ending(traced)],
    ["Times", traced && `began at ${milliseconds(traced.start_ms)}, waited ${milliseconds(traced.wait_ms)}, ran ${milliseconds(traced.run_ms)}`],
    ["Attempts", traced && traced.attempts > 1 && `${traced.attempts}${traced.retries_ms ? `, again at ${traced.retries_ms.map(milliseconds).join(", ")}` : ""}`],
    ["Slack", traced && (traced.is_critical ? "none: on the critical path" : milliseconds(traced.slack_ms))],
    ["Error", [...new Set(messages)].join(" ")],
  ];
  return (
    <section className="details" aria-label={`Step ${node.step}`} aria-live="polite">
      <header>
        <h3>{node.step}</h3>
        <button type="button" aria-label="Close the details" onClick={onClose}>✕</button>
      </header>
      <dl>
        {rows.map(([name, value]) => value && <div key={name} className={name === "Error" ? "is-error" : ""}><dt>{name}</dt><dd>{value}</dd></div>)}
      </dl>
    </section>
  );
}

function fallbackText(fallback: PlanNode["fallback"][number], names: (ids: number[]) => string): string {
  if ("node" in fallback) return `step ${names([fallback.node])}`;
  return "stale_ms" in fallback ? `last good value, at most ${milliseconds(fallback.stale_ms)} old` : `value ${JSON.stringify(fallback.value)}`;
}
