/** A query to begin with for each operation of the schema. */

import type { Example } from "./api";

export function Examples({ examples, onChoose }: { examples: Example[]; onChoose: (example: Example) => void }) {
  if (examples.length === 0) return <p className="empty">The configuration has no operation yet.</p>;
  return (
    <ul className="examples">
      {examples.map((example) => (
        <li key={`${example.is_mutation} ${example.operation}`}>
          <button type="button" onClick={() => onChoose(example)}>
            <b>{example.operation}</b>{example.is_mutation && <i> mutation</i>}
            <span>{example.description ?? "A query of all of its fields."}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}
