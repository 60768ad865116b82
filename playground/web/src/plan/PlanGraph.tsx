/** A plan as a drawing: a node for each step, shaped and signed by how it ended; scroll or drag to move, buttons or Ctrl and wheel to zoom. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent, type PointerEvent } from "react";

import type { Plan, PlanNode, Trace } from "../api";
import { layout, NODE, type Edge, type Placed } from "./layout";
import { ending, lookOf, longestChain, milliseconds, SIGNS, type Look } from "./words";

const ZOOM = { least: 0.25, readable: 0.82, most: 2, step: 1.25 };
const MAX_HEIGHT = 380;
const SCROLLBAR = 14;

interface Props {
  plan: Plan;
  trace: Trace | undefined;
  selected: number | null;
  onSelect: (id: number | null) => void;
}

export function PlanGraph({ plan, trace, selected, onSelect }: Props) {
  const drawing = useMemo(() => layout(plan), [plan]);
  const critical = useMemo(
    () => (trace ? new Set(trace.nodes.filter((node) => node.is_critical).map((node) => node.id)) : longestChain(plan)),
    [plan, trace],
  );
  const traced = useMemo(() => new Map(trace?.nodes.map((node) => [node.id, node])), [trace]);
  const frame = useRef<HTMLDivElement>(null);
  const [zoom, setZoom] = useState(1);

  const fit = (least: number) => {
    const box = frame.current;
    if (!box) return;
    const whole = Math.min(box.clientWidth / drawing.width, MAX_HEIGHT / drawing.height, 1);
    const next = Math.max(whole, least);
    box.style.height = `${Math.min(drawing.height * next + SCROLLBAR, MAX_HEIGHT)}px`;
    setZoom(next);
  };
  useLayoutEffect(() => fit(ZOOM.readable), [drawing]);
  useWheelZoom(frame, setZoom);
  useEffect(() => {
    const node = selected === null ? null : frame.current?.querySelector(`[data-node="${selected}"]`);
    node?.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "smooth" });
  }, [selected]);

  const places = new Map(drawing.placed.flatMap((each) => (each.node ? [[each.node.id, each] as const] : [])));
  const count = places.size;
  return (
    <section className={`graph${selected === null ? "" : " has-selection"}`} aria-label="Plan">
      <div className="graph-tools">
        {count > 12 && <StepFinder plan={plan} onFind={onSelect} />}
        <button type="button" aria-label="Zoom out" onClick={() => setZoom((value) => Math.max(value / ZOOM.step, ZOOM.least))}>−</button>
        <button type="button" aria-label="Show the whole plan" onClick={() => fit(ZOOM.least)}>Fit</button>
        <button type="button" aria-label="Zoom in" onClick={() => setZoom((value) => Math.min(value * ZOOM.step, ZOOM.most))}>+</button>
      </div>
      <div className="graph-frame" ref={frame} {...dragging(frame)}>
        <svg
          width={drawing.width * zoom}
          height={drawing.height * zoom}
          viewBox={`0 0 ${drawing.width} ${drawing.height}`}
          role="group"
          aria-label={`${count} ${count === 1 ? "step" : "steps"}`}
        >
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0 0 8 4 0 8Z" />
            </marker>
          </defs>
          {drawing.heads.map((head) => (
            <text key={head.y} className="graph-head" x={14} y={head.y}>{head.text}</text>
          ))}
          {drawing.edges.map((edge) => (
            <EdgeLine key={`${edge.from}-${edge.to}-${edge.kind}`} edge={edge} places={places} isCritical={critical.has(edge.from) && critical.has(edge.to)} isNear={edge.from === selected || edge.to === selected} />
          ))}
          {drawing.placed.map((each) => (
            <NodeBox
              key={each.key}
              placed={each}
              look={each.node ? lookOf(each.node, trace, traced.get(each.node.id)) : "idle"}
              ended={each.node && traced.get(each.node.id)}
              hasRun={trace !== undefined}
              isCritical={each.node !== undefined && critical.has(each.node.id)}
              isSelected={each.node?.id === selected}
              onSelect={() => each.node && onSelect(each.node.id === selected ? null : each.node.id)}
            />
          ))}
        </svg>
      </div>
    </section>
  );
}

function StepFinder({ plan, onFind }: { plan: Plan; onFind: (id: number) => void }) {
  const nodes = plan.operations.flatMap((operation) => operation.nodes);
  const find = (text: string) => {
    const wanted = text.trim().toLowerCase();
    const found = nodes.find((node) => node.step.toLowerCase() === wanted) ?? nodes.find((node) => node.step.toLowerCase().includes(wanted));
    if (wanted && found) onFind(found.id);
  };
  return <input type="search" aria-label="Find a step" placeholder={`Find one of ${nodes.length} steps`} onChange={(event) => find(event.target.value)} />;
}

function EdgeLine({ edge, places, isCritical, isNear }: { edge: Edge; places: Map<number, Placed>; isCritical: boolean; isNear: boolean }) {
  const from = places.get(edge.from);
  const to = places.get(edge.to);
  if (!from || !to) return null;
  const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
  const bend = Math.max(24, Math.abs(x2 - x1) / 2);
  const title = { needs: "needs", follows: "runs after", fallback: "falls back to" }[edge.kind];
  return (
    <path className={`edge edge-${edge.kind}${isCritical ? " is-critical" : ""}${isNear ? " is-near" : ""}`} d={`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`} markerEnd="url(#arrow)">
      <title>{edge.kind === "fallback" ? `${from.name} ${title} ${to.name}` : `${to.name} ${title} ${from.name}`}</title>
    </path>
  );
}

interface BoxProps {
  placed: Placed;
  look: Look;
  ended: Trace["nodes"][number] | undefined;
  hasRun: boolean;
  isCritical: boolean;
  isSelected: boolean;
  onSelect: () => void;
}

function NodeBox({ placed, look, ended, hasRun, isCritical, isSelected, onSelect }: BoxProps) {
  const { node, name, note, x, y } = placed;
  const times = ended ? `${milliseconds(ended.duration_ms)}${ended.attempts > 1 ? ` · ${ended.attempts}×` : ""}` : hasRun && node ? "not needed" : "";
  const policy = node ? policyOf(node) : "";
  const label = [name, note, policy, ended && ending(ended), times, isCritical && "on the critical path"].filter(Boolean).join(", ");
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    onSelect();
  };
  const interactive = node ? { role: "button", tabIndex: 0, onClick: onSelect, onKeyDown: onKey, "aria-pressed": isSelected, "data-node": node.id } : { role: "img" };
  return (
    <g
      className={`node look-${look}${node ? "" : " is-left-out"}${isCritical ? " is-critical" : ""}${isSelected ? " is-selected" : ""}`}
      transform={`translate(${x} ${y})`}
      aria-label={label}
      {...interactive}
    >
      <title>{label}</title>
      <path className="node-shape" d={shape(look)} />
      <text className="node-name" x={12} y={19}>{shortened(name, SIGNS[look] ? 18 : 21)}</text>
      {SIGNS[look] && <text className="node-sign" x={NODE.width - 12} y={19} textAnchor="end">{SIGNS[look]}</text>}
      <text className="node-note" x={12} y={35}>{shortened(note, 26)}</text>
      {node && <text className="node-note" x={12} y={50}>{shortened(`${node.role} · ${times || limits(node)}`, 26)}</text>}
    </g>
  );
}

export function policyOf(node: PlanNode): string {
  return `${node.role}, ${limits(node)}`;
}

function limits(node: PlanNode): string {
  const tries = node.attempts > 1 ? ` × ${node.attempts}` : "";
  return `≤ ${milliseconds(node.timeout_ms)}${tries}`;
}

/** Shapes tell outcomes apart without colour: cut corners for a failure, slanted sides for a skipped step, a notch for a fallback. */
function shape(look: Look): string {
  const { width: w, height: h } = NODE;
  if (look === "failure") return `M12 0H${w - 12}L${w} 12V${h - 12}L${w - 12} ${h}H12L0 ${h - 12}V12Z`;
  if (look === "skipped") return `M8 0H${w}L${w - 8} ${h}H0Z`;
  if (look === "rescued") return `M6 0H${w - 18}L${w} 18V${h - 6}Q${w} ${h} ${w - 6} ${h}H6Q0 ${h} 0 ${h - 6}V6Q0 0 6 0Z`;
  return `M6 0H${w - 6}Q${w} 0 ${w} 6V${h - 6}Q${w} ${h} ${w - 6} ${h}H6Q0 ${h} 0 ${h - 6}V6Q0 0 6 0Z`;
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function useWheelZoom(frame: { current: HTMLDivElement | null }, setZoom: (change: (value: number) => number) => void) {
  useEffect(() => {
    const box = frame.current;
    const onWheel = (event: WheelEvent) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      setZoom((value) => Math.min(Math.max(value * Math.exp(-event.deltaY / 300), ZOOM.least), ZOOM.most));
    };
    box?.addEventListener("wheel", onWheel, { passive: false });
    return () => box?.removeEventListener("wheel", onWheel);
  }, []);
}

/** Let a mouse drag what scrolls; a finger scrolls by itself. */
function dragging(frame: { current: HTMLDivElement | null }) {
  return {
    onPointerMove: (event: PointerEvent) => {
      const box = frame.current;
      if (!box || event.pointerType !== "mouse" || event.buttons !== 1) return;
      box.scrollLeft -= event.movementX;
      box.scrollTop -= event.movementY;
    },
  };
}
