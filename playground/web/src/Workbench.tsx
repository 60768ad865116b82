/** All that stands around GraphiQL: the top bar, problems of the configuration, and the panel of the plan, the runs and the examples. */

import { pick, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useEffect, useRef, useState, type KeyboardEvent, type RefObject } from "react";

import { fetchExamples, fetchPlan, fetchRun, runAgain, type Example, type GraphQLProblem, type Plan, type Run } from "./api";
import { Problems } from "./configuration/Problems";
import { useConfiguration } from "./configuration/useConfiguration";
import { Examples } from "./Examples";
import { PlanPanel } from "./plan/PlanPanel";
import { Runs } from "./runs/Runs";
import { Splitter } from "./Splitter";
import { TopBar } from "./TopBar";
import { asRequest, useDocument, useFillEditors, variablesText, type WrittenDocument } from "./useDocument";

const TABS = ["Plan", "Runs", "Examples"] as const;
const VIEWS = ["Query", "Answer", ...TABS] as const;
type View = (typeof VIEWS)[number];
type Tab = (typeof TABS)[number];

interface Props {
  examples: Example[];
  /** Filled here with what is to be done with the id of each run of the page. */
  onRan: RefObject<(id: string) => void>;
}

export function Workbench({ examples: first, onRan }: Props) {
  const document = useDocument();
  const fill = useFillEditors();
  const { introspect } = useGraphiQLActions();
  const responseEditor = useGraphiQL((state) => state.responseEditor);
  const { configuration, isConnected } = useConfiguration();
  const version = configuration?.version;
  const { plan, problems } = usePlan(document, version);
  const [run, open] = useRun(document);
  const [examples, setExamples] = useState(first);
  const [view, setView] = useState<View>("Query");
  const [width, setWidth] = useState(() => Math.max(380, Math.round(window.innerWidth * 0.4)));
  const tab: Tab = useLastTab(view);

  const known = useRef(version);
  useEffect(() => {
    if (known.current !== undefined && known.current !== version) {
      void introspect();
      void fetchExamples().then(setExamples, () => {});
    }
    known.current = version;
  }, [version]);

  const show = async (id: string, next: View) => {
    if (await open(id)) setView(next);
  };
  onRan.current = (id) => void show(id, window.innerWidth < 1000 ? "Answer" : "Plan");
  const again = async (id: string) => {
    const { id: made, body } = await runAgain(id);
    responseEditor?.setValue(JSON.stringify(body, null, 2));
    await show(made, "Plan");
  };
  const choose = (example: Example) => {
    fill(example.query, variablesText(example.variables));
    setView(window.innerWidth < 1000 ? "Query" : "Plan");
  };

  return (
    <>
      <div className="top">
        <TopBar configuration={configuration} isConnected={isConnected} shared={document} />
        <Problems problems={configuration?.problems ?? []} />
        <nav className="views" aria-label="Views">
          {VIEWS.map((each) => <button key={each} type="button" aria-pressed={each === view} onClick={() => setView(each)}>{each}</button>)}
        </nav>
      </div>
      <aside className="panel" data-view={view} style={{ "--panel-width": `${width}px` } as React.CSSProperties} aria-label="Plan, runs and examples">
        <Splitter width={width} onWidth={setWidth} />
        <Tabs tab={tab} onTab={setView} />
        <div className="tab-panel" role="tabpanel" id="tab-panel" aria-labelledby={`tab-${tab}`}>
          {tab === "Plan" && <PlanPanel plan={plan} problems={problems} run={run} />}
          {tab === "Runs" && <Runs opened={run?.id ?? null} onOpen={(id) => void show(id, "Plan")} onRunAgain={(id) => void again(id)} />}
          {tab === "Examples" && <Examples examples={examples} onChoose={choose} />}
        </div>
      </aside>
    </>
  );
}

function Tabs({ tab, onTab }: { tab: Tab; onTab: (tab: Tab) => void }) {
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length] as Tab;
    onTab(next);
    event.currentTarget.querySelector<HTMLButtonElement>(`#tab-${next}`)?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label="Panel" onKeyDown={onKeyDown}>
      {TABS.map((each) => (
        <button key={each} type="button" role="tab" id={`tab-${each}`} aria-controls="tab-panel" aria-selected={each === tab} tabIndex={each === tab ? 0 : -1} onClick={() => onTab(each)}>
          {each}
        </button>
      ))}
    </div>
  );
}

/** Return the panel's tab: the last view that was one. */
function useLastTab(view: View): Tab {
  const last = useRef<Tab>("Plan");
  const found = TABS.find((each) => each === view);
  if (found) last.current = found;
  return last.current;
}

/** Return the plan of a document as the gateway makes it; the last one stays while the document is not valid. */
function usePlan(document: WrittenDocument, version: string | undefined): { plan: Plan | null; problems: GraphQLProblem[] } {
  const [state, setState] = useState<{ plan: Plan | null; problems: GraphQLProblem[] }>({ plan: null, problems: [] });
  useEffect(() => {
    if (!document.query.trim()) {
      setState({ plan: null, problems: [] });
      return;
    }
    const leaving = new AbortController();
    const { parameters, headers } = asRequest(document);
    fetchPlan(parameters, headers, leaving.signal).then(
      ({ plan, problems }) => setState((before) => ({ plan: plan ?? before.plan, problems })),
      () => {},
    );
    return () => leaving.abort();
  }, [document, version]);
  return state;
}

/** Return the run that is shown, and the function that opens one: it is shown until something else is written. */
function useRun(document: WrittenDocument): [Run | null, (id: string) => Promise<boolean>] {
  const { queryEditor, variableEditor } = useGraphiQL(pick("queryEditor", "variableEditor"));
  const [run, setRun] = useState<Run | null>(null);
  const openedAt = useRef("");
  const { query, variables } = document;
  useEffect(() => {
    if (openedAt.current !== identity(query, variables)) setRun(null);
  }, [query, variables]);
  const open = async (id: string) => {
    const found = await fetchRun(id);
    if (!found) return false;
    openedAt.current = identity(queryEditor?.getValue() ?? "", variableEditor?.getValue() ?? "");
    setRun(found);
    return true;
  };
  return [run, open];
}

function identity(query: string, variables: string): string {
  return JSON.stringify([query, variables]);
}
