/** The name, the state of the configuration, and what belongs to the whole page: sharing and the theme. */

import { pick, useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useState } from "react";

import type { Configuration } from "./api";
import { toHash, type Shared } from "./share";

interface Props {
  configuration: Configuration | null;
  isConnected: boolean;
  shared: Shared;
}

export function TopBar({ configuration, isConnected, shared }: Props) {
  const [note, setNote] = useState("");
  const share = async () => {
    history.replaceState(null, "", toHash(shared));
    const hasCopied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    setNote(hasCopied ? "Link copied (without headers)" : "The link is in the address bar (without headers)");
    setTimeout(() => setNote(""), 4000);
  };
  return (
    <header className="top-bar">
      <h1>Stepgraph</h1>
      <span className="version" role="status">
        <span className={`dot ${isConnected ? "is-live" : "is-away"}`} aria-hidden="true" />
        {isConnected ? <>configuration <code>{configuration?.version.slice(0, 8) ?? "…"}</code></> : "The gateway is away; trying again"}
      </span>
      <span className="note" role="status">{note}</span>
      <button type="button" onClick={() => void share()}>Share</button>
      <ThemeSwitch />
    </header>
  );
}

const THEMES = { system: null, light: "light", dark: "dark" } as const;

function ThemeSwitch() {
  const { theme } = useGraphiQL(pick("theme"));
  const { setTheme } = useGraphiQLActions();
  return (
    <select aria-label="Theme" value={theme ?? "system"} onChange={(event) => setTheme(THEMES[event.target.value as keyof typeof THEMES])}>
      <option value="system">System</option>
      <option value="light">Light</option>
      <option value="dark">Dark</option>
    </select>
  );
}
