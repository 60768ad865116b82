/** The last runs of the gateway, whoever sent them: open one to see its timeline, or run it again. */

import { useEffect, useState } from "react";

import { fetchRuns, type RunSummary } from "../api";
import { milliseconds, OUTCOMES } from "../plan/words";

const REFRESH_MS = 2000;

interface Props {
  opened: string | null;
  onOpen: (id: string) => void;
  onRunAgain: (id: string) => void;
}

export function Runs({ opened, onOpen, onRunAgain }: Props) {
  const [runs, setRuns] = useState<RunSummary[] | null>(null);
  useEffect(() => {
    const refresh = () => void fetchRuns().then(setRuns, () => {});
    refresh();
    const timer = setInterval(refresh, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  if (runs === null) return <p className="empty">…</p>;
  if (runs.length === 0) return <p className="empty">Nothing has run yet. Each request to the gateway is listed here, with its arguments and headers hidden.</p>;
  return (
    <table className="runs">
      <thead>
        <tr><th>Outcome</th><th>Operations</th><th>Took</th><th>Tenant</th><th>At</th><th><span className="hidden">Run again</span></th></tr>
      </thead>
      <tbody>
        {runs.map((run) => {
          const outcome = OUTCOMES[run.outcome];
          const name = run.operations.join(", ") || "—";
          const time = new Date(run.at).toLocaleTimeString();
          return (
            <tr key={run.id} className={run.id === opened ? "is-selected" : ""}>
              <td><span className={`badge outcome-${run.outcome}`}><span aria-hidden="true">{outcome.sign}</span> {outcome.text}</span></td>
              <td><button type="button" className="link" aria-label={`Open the run of ${name} at ${time}`} onClick={() => onOpen(run.id)}>{name}</button></td>
              <td>{run.duration_ms === null ? "—" : milliseconds(run.duration_ms)}</td>
              <td>{run.tenant ? String(run.tenant) : "—"}</td>
              <td>{time}</td>
              <td><button type="button" aria-label={`Run ${name} again`} onClick={() => onRunAgain(run.id)}>Run again</button></td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
