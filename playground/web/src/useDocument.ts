/** The document that is being written: GraphiQL's editors as one value, and the way to fill them. */

import { pick, tryParseJSONC, useGraphiQL, useHeadersEditorState, useOperationsEditorState, useVariablesEditorState, type MonacoEditor } from "@graphiql/react";
import { useEffect, useMemo, useState } from "react";

import type { GraphQLParameters } from "./api";

const PAUSE_MS = 250;

export interface WrittenDocument {
  query: string;
  variables: string;
  headers: string;
  operationName: string | undefined;
}

/** Return the document as it is once its writer pauses. */
export function useDocument(): WrittenDocument {
  const [query] = useOperationsEditorState();
  const [variables] = useVariablesEditorState();
  const [headers] = useHeadersEditorState();
  const operationName = useGraphiQL((state) => state.operationName);
  const current = useMemo(
    () => ({ query: query ?? "", variables: variables ?? "", headers: headers ?? "", operationName: operationName ?? undefined }),
    [query, variables, headers, operationName],
  );
  const [settled, setSettled] = useState(current);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(current), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [current]);
  return settled;
}

/** Return the request that a document is; what is not valid JSON yet counts as empty. */
export function asRequest(document: WrittenDocument): { parameters: GraphQLParameters; headers: Record<string, string> } {
  const { query, operationName } = document;
  return { parameters: { query, operationName, variables: parsed(document.variables) }, headers: texts(parsed(document.headers)) };
}

function parsed(text: string): Record<string, unknown> {
  try {
    return tryParseJSONC(text) ?? {};
  } catch {
    return {};
  }
}

/** Keep what can be a header: fetch refuses anything else. */
export function texts(values: Record<string, unknown>): Record<string, string> {
  const sound = Object.entries(values).filter(([name, value]) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[\x20-\x7e\t]*$/.test(String(value)));
  return Object.fromEntries(sound.map(([name, value]) => [name, String(value)]));
}

export function variablesText(variables: Record<string, unknown>): string {
  return Object.keys(variables).length > 0 ? JSON.stringify(variables, null, 2) : "";
}

/** Return the function that fills the editors; what stood there can be undone. */
export function useFillEditors(): (query: string, variables: string) => void {
  const { queryEditor, variableEditor } = useGraphiQL(pick("queryEditor", "variableEditor"));
  return (query, variables) => {
    replace(queryEditor, query);
    replace(variableEditor, variables);
    queryEditor?.focus();
  };
}

function replace(editor: MonacoEditor | undefined, text: string) {
  const model = editor?.getModel();
  if (!editor || !model) return;
  editor.pushUndoStop();
  editor.executeEdits("playground", [{ range: model.getFullModelRange(), text }]);
  editor.pushUndoStop();
}
