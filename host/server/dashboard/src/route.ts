// Where the page is: the part of the address behind `#`, so that every view has a link and the back button works.

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** `["executions", "ex_…"]` */
  path: string[];
  query: URLSearchParams;
}

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { path: parts.length > 0 ? parts : ["executions"], query: new URLSearchParams(query) };
}

/** Returns the route, and renders again when it changes. */
export function useRoute(): Route {
  const [route, set] = useState(read);
  useEffect(() => {
    const changed = (): void => set(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

/** Builds a link. */
export function link(path: string[], query: Record<string, string | undefined> = {}): string {
  const wanted = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const search = new URLSearchParams(wanted).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search && `?${search}`}`;
}

/** Goes somewhere. */
export function go(path: string[], query: Record<string, string | undefined> = {}): void {
  location.hash = link(path, query);
}
