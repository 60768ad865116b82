/** The state of the served configuration, as the gateway tells of it. */

import { useEffect, useState } from "react";

import type { Configuration } from "../api";

/** Return the configuration, and whether the gateway is there; a page that nobody sees does not listen. */
export function useConfiguration(): { configuration: Configuration | null; isConnected: boolean } {
  const [configuration, setConfiguration] = useState<Configuration | null>(null);
  const [isConnected, setIsConnected] = useState(true);
  useEffect(() => {
    let source: EventSource | null = null;
    let again: ReturnType<typeof setTimeout> | undefined;
    const listen = () => {
      clearTimeout(again);
      source?.close();
      source = null;
      if (document.hidden) return;
      source = new EventSource("/playground/events");
      source.addEventListener("configuration", (event) => {
        setIsConnected(true);
        setConfiguration(JSON.parse(event.data) as Configuration);
      });
      source.onerror = () => {
        setIsConnected(false);
        if (source?.readyState === EventSource.CLOSED) again = setTimeout(listen, 2000);
      };
    };
    listen();
    document.addEventListener("visibilitychange", listen);
    return () => {
      document.removeEventListener("visibilitychange", listen);
      clearTimeout(again);
      source?.close();
    };
  }, []);
  return { configuration, isConnected };
}
