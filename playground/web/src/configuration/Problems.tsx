/** What is wrong with the configuration files as they are now, while an older version answers. */

import type { Problem } from "../api";

const SHOWN = 5;

export function Problems({ problems }: { problems: Problem[] }) {
  if (problems.length === 0) return null;
  return (
    <section className="problems" role="alert" aria-label="Problems of the configuration">
      <p><b>The changed configuration has {problems.length === 1 ? "a problem" : `${problems.length} problems`}.</b> The last good version goes on answering.</p>
      <ul>
        {problems.slice(0, SHOWN).map((problem) => (
          <li key={`${problem.place.file}:${problem.place.line}:${problem.place.column} ${problem.code}`}>
            <code>{problem.place.file}:{problem.place.line}:{problem.place.column}</code> <span>{problem.subject}</span>
            <p>{problem.message} <code>[{problem.code}]</code></p>
          </li>
        ))}
      </ul>
      {problems.length > SHOWN && <p>{problems.length - SHOWN} more: <code>stepgraph check</code></p>}
    </section>
  );
}
