/** A bar between the editors and the panel, to be dragged, or moved with the arrow keys. */

import type { KeyboardEvent, PointerEvent } from "react";

const LEAST = 320;
const STEP = 32;

export function Splitter({ width, onWidth }: { width: number; onWidth: (width: number) => void }) {
  const most = Math.max(LEAST, window.innerWidth - 480);
  const set = (value: number) => onWidth(Math.min(Math.max(value, LEAST), most));
  const onPointerMove = (event: PointerEvent<HTMLDivElement>) => {
    if (event.currentTarget.hasPointerCapture(event.pointerId)) set(window.innerWidth - event.clientX);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowLeft") set(width + STEP);
    if (event.key === "ArrowRight") set(width - STEP);
  };
  return (
    <div
      className="splitter"
      role="separator"
      aria-orientation="vertical"
      aria-label="Width of the plan panel"
      aria-valuenow={width}
      aria-valuemin={LEAST}
      aria-valuemax={most}
      tabIndex={0}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={onPointerMove}
      onKeyDown={onKeyDown}
    />
  );
}
