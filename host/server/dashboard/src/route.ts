// Where the page is: the part of the address behind `#`, so that every view has a link and the back button works. A page
// without an address of its own keeps it for itself.

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** `["executions", "ex_…"]` */
  path: string[];
  query: URLSearchParams;
}

/** The address of a page that has none of its own. */
let kept: string | undefined;
const movers = new Set<() => void>();

function read(): Route {
  const [path = "", query = ""] = (kept ?? location.hash).replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { path: parts.length > 0 ? parts : ["executions"], query: new URLSearchParams(query) };
}

/** Keeps the address inside: links change it, and the browser goes nowhere. */
export function keepAddress(): void {
  kept = "#/";
  document.addEventListener("click", (event) => {
    const followed = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
    if (!followed) return;
    event.preventDefault();
    kept = followed.getAttribute("href") ?? "#/";
    for (const moved of movers) moved();
  });
}

/** Returns the route, and renders again when it changes. */
export function useRoute(): Route {
  const [route, set] = useState(read);
  useEffect(() => {
    const changed = (): void => set(read());
    addEventListener("hashchange", changed);
    movers.add(changed);
    return () => {
      removeEventListener("hashchange", changed);
      movers.delete(changed);
    };
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
