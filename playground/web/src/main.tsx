/** The page: GraphiQL, with the plan beside it. It asks nobody but the gateway that it came from. */

import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "./style.css";

import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { GraphiQL } from "graphiql";
import { useRef } from "react";
import { createRoot } from "react-dom/client";

import { fetchExamples, send, type Example, type GraphQLParameters } from "./api";
import { fromHash } from "./share";
import { texts, variablesText } from "./useDocument";
import { Workbench } from "./Workbench";

const PLUGINS = [HISTORY_PLUGIN];

function Page({ examples }: { examples: Example[] }) {
  const onRan = useRef<(id: string) => void>(() => {});
  const fetcher = async (parameters: GraphQLParameters, options?: { headers?: Record<string, unknown> }) => {
    const { id, body } = await send(parameters, texts(options?.headers ?? {}));
    if (parameters.operationName !== "IntrospectionQuery") onRan.current(id);
    return body;
  };
  const shared = fromHash(location.hash);
  const fullest = [...examples].filter((each) => !each.is_mutation).sort((a, b) => b.query.length - a.query.length)[0];
  const example = fullest && !localStorage.getItem("graphiql:query") ? { query: fullest.query, variables: variablesText(fullest.variables) } : null;
  const first = shared ?? example;
  const start = first ? { initialQuery: first.query, initialVariables: first.variables } : {};
  return (
    <GraphiQL fetcher={fetcher as never} plugins={PLUGINS} defaultQuery="" {...start} defaultEditorToolsVisibility>
      <GraphiQL.Logo> </GraphiQL.Logo>
      <Workbench examples={examples} onRan={onRan} />
    </GraphiQL>
  );
}

const examples = await fetchExamples().catch(() => []);
createRoot(document.getElementById("root") as HTMLElement).render(<Page examples={examples} />);
