/** What the query would run, or what a run did: in words, as a graph, on a time axis, and node by node. */

import { useEffect, useState } from "react";

import type { GraphQLProblem, Plan, Run, RunError } from "../api";
import { Timeline } from "../timeline/Timeline";
import { Details } from "./Details";
import { PlanGraph } from "./PlanGraph";
import { milliseconds, nodesOf, OUTCOMES, slowest } from "./words";

interface Props {
  plan: Plan | null;
  problems: GraphQLProblem[];
  run: Run | null;
}

export function PlanPanel({ plan: typed, problems, run }: Props) {
  const [selected, setSelected] = useState<number | null>(null);
  const plan = run ? (run.plan ?? null) : typed;
  useEffect(() => setSelected(null), [run, typed]);
  const errors = run?.errors ?? [];
  return (
    <div className="plan-panel">
      {run ? <RunWords run={run} onSelect={setSelected} /> : <PlanWords plan={plan} problems={problems} />}
      {errors.length > 0 && <Errors errors={errors} plan={plan} run={run} onSelect={setSelected} />}
      {plan && plan.operations.length > 0 && (
        <>
          <PlanGraph plan={plan} trace={run?.trace} selected={selected} onSelect={setSelected} />
          {selected !== null && <Details plan={plan} run={run} id={selected} onClose={() => setSelected(null)} />}
          {run?.trace && <Timeline plan={plan} trace={run.trace} selected={selected} onSelect={setSelected} />}
        </>
      )}
    </div>
  );
}

function PlanWords({ plan, problems }: { plan: Plan | null; problems: GraphQLProblem[] }) {
  const nodes = plan ? nodesOf(plan) : [];
  const worst = Math.max(0, ...(plan?.operations ?? []).map((operation) => operation.critical_path_ms));
  return (
    <div className="words" role="status">
      {plan && nodes.length > 0 && (
        <p>
          Will run <b>{nodes.length} {nodes.length === 1 ? "step" : "steps"}</b>; the longest chain of timeouts is <b>{milliseconds(worst)}</b>.
        </p>
      )}
      {plan && nodes.length === 0 && <p>Runs no step: the schema itself answers.</p>}
      {!plan && problems.length === 0 && <p>Write a query, or choose one of the examples: its plan is shown here before it runs.</p>}
      {problems.slice(0, 3).map((problem) => <p key={problem.message} className="is-problem">{problem.message}</p>)}
    </div>
  );
}

function RunWords({ run, onSelect }: { run: Run; onSelect: (id: number) => void }) {
  const outcome = OUTCOMES[run.outcome];
  const culprit = run.trace && slowest(run.trace);
  return (
    <div className="words" role="status">
      <p>
        <span className={`badge outcome-${run.outcome}`}><span aria-hidden="true">{outcome.sign}</span> {outcome.text}</span>
        {run.duration_ms !== null && <> in <b>{milliseconds(run.duration_ms)}</b></>}
        {run.tenant ? <> · tenant {String(run.tenant)}</> : null}
      </p>
      {culprit && (
        <p>
          Slowest on the critical path: <button type="button" className="link" onClick={() => onSelect(culprit.id)}>{culprit.step}</button>, {culprit.sentence}.
          {run.trace && run.trace.critical_path.length > 1 && <span className="path"> {run.trace.critical_path.join(" → ")}</span>}
        </p>
      )}
    </div>
  );
}

function Errors({ errors, plan, run, onSelect }: { errors: RunError[]; plan: Plan | null; run: Run | null; onSelect: (id: number) => void }) {
  const [isOpen, setIsOpen] = useState(false);
  const shown = isOpen ? errors : errors.slice(0, 3);
  return (
    <ul className="errors" aria-label="Errors">
      {shown.map((error, index) => {
        const id = nodeOf(error, plan, run);
        const text = <><span aria-hidden="true">✕ </span><b>{error.path?.join(".") ?? error.code}</b> {error.message ?? "The request was refused."} <code>{error.code}</code></>;
        return <li key={index}>{id === null ? <p>{text}</p> : <button type="button" onClick={() => onSelect(id)}>{text}</button>}</li>;
      })}
      {errors.length > shown.length && <li><button type="button" onClick={() => setIsOpen(true)}>Show {errors.length - shown.length} more</button></li>}
    </ul>
  );
}

/** Find the node that an error is about: the step that it names, of the operations it can belong to; the one that failed comes first. */
function nodeOf(error: RunError, plan: Plan | null, run: Run | null): number | null {
  const candidates = (plan ? nodesOf(plan) : []).filter((node) => node.step === error.step);
  const failed = candidates.find((node) => run?.trace?.nodes.some((each) => each.id === node.id && each.outcome === "failure"));
  return (failed ?? candidates[0])?.id ?? null;
}
