// Where patterns were applied, how each ended, and how its component stands to it now.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Application, ApplicationList } from "../answers";
import { CallError, call } from "../call";
import { moment, words } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Empty, Show, Status, useTitle } from "../parts";
import { go, link } from "../route";

const STATUSES = ["applied", "planned", "unchanged", "blocked", "conflict", "non_convergent", "reverted"];
const DRIFTS = ["clean", "modified", "missing", "outdated"];
const PAGE = 50;

/** Comparing components with their records reads files, so it is done no more often, in milliseconds. */
const PACE_MS = 2_000;

export function Applications({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Applications");
  const asked = Object.fromEntries(["status", "drift", "pattern", "component"].map((key) => [key, query.get(key) ?? ""]));
  const { status = "", drift = "", pattern = "", component = "" } = asked;
  const filter = {
    ...(status && { status_filter: status }),
    ...(drift && { drift }),
    ...(pattern && { pattern_name: pattern }),
    ...(component && { target_component: component }),
    limit: PAGE,
  };
  const first = useTool<ApplicationList>("list_pattern_applications", filter, PACE_MS);
  const [older, setOlder] = useState<ApplicationList>();
  const [problem, setProblem] = useState<string>();
  const [typed, setTyped] = useState({ pattern, component });
  useEffect(() => setOlder(undefined), [first.value]);
  useEffect(() => setTyped({ pattern, component }), [pattern, component]);
  useNews(() => first.again(), [first.again]);

  const rows = [...(first.value?.applications ?? []), ...(older?.applications ?? [])];
  const cursor = older ? older.next_cursor : first.value?.next_cursor;
  const more = async (): Promise<void> => {
    try {
      const next = await call<ApplicationList>("list_pattern_applications", { ...filter, cursor });
      setOlder({ ...next, applications: [...(older?.applications ?? []), ...next.applications] });
      setProblem(undefined);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      setProblem(error.message);
    }
  };

  return (
    <>
      <header class="head">
        <h1>Applications</h1>
        <a class="button" href={link(["apply"])}>
          Apply a pattern
        </a>
      </header>
      <form
        class="filters"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          go(["applications"], { ...asked, pattern: typed.pattern.trim(), component: typed.component.trim() });
        }}
      >
        <label>
          Ended{" "}
          <select value={status} onChange={(event) => go(["applications"], { ...asked, status: event.currentTarget.value })}>
            <option value="">in any way</option>
            {STATUSES.map((each) => (
              <option value={each}>{words(each)}</option>
            ))}
          </select>
        </label>
        <label>
          Now{" "}
          <select value={drift} onChange={(event) => go(["applications"], { ...asked, drift: event.currentTarget.value })}>
            <option value="">anything</option>
            {DRIFTS.map((each) => (
              <option value={each}>{each}</option>
            ))}
          </select>
        </label>
        <label>
          Pattern{" "}
          <input
            type="search"
            placeholder="all"
            value={typed.pattern}
            onInput={(event) => setTyped({ ...typed, pattern: event.currentTarget.value })}
          />
        </label>
        <label>
          Component{" "}
          <input
            type="search"
            placeholder="all"
            value={typed.component}
            onInput={(event) => setTyped({ ...typed, component: event.currentTarget.value })}
          />
        </label>
        <button>Filter</button>
      </form>
      <Show of={first}>
        {() =>
          rows.length === 0 ? (
            <Empty>
              {status || drift || pattern || component ? (
                <>
                  No application fits. <a href={link(["applications"])}>Show all</a>
                </>
              ) : (
                <>
                  No pattern was applied yet. <a href={link(["apply"])}>Apply one</a>, or plan it with the tool{" "}
                  <code>apply_pattern</code> and <code>dry_run</code>.
                </>
              )}
            </Empty>
          ) : (
            <Table of={rows} />
          )
        }
      </Show>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {cursor && (
        <button type="button" onClick={() => void more()}>
          Older
        </button>
      )}
    </>
  );
}

function Table({ of }: { of: Application[] }): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Applications">
      <table>
        <thead>
          <tr>
            <th scope="col">Pattern</th>
            <th scope="col">Component</th>
            <th scope="col">Ended</th>
            <th scope="col">Now</th>
            <th scope="col" class="number">
              Files
            </th>
            <th scope="col">When, and by whom</th>
          </tr>
        </thead>
        <tbody>
          {of.map((each) => (
            <tr key={each.application_id}>
              <th scope="row">
                <a href={link(["applications", each.application_id])}>{each.pattern_name}</a>{" "}
                <span class="quiet">{each.pattern_version}</span>
              </th>
              <td class="path">{each.target_component}</td>
              <td>
                <Status of={each.status} />
              </td>
              <td>
                <Drift of={each} />
              </td>
              <td class="number">{each.changed_files_total}</td>
              <td>
                {moment(each.applied_at)} <span class="quiet">by {each.applied_by}</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How a component stands to an application now. */
export function Drift({ of }: { of: Application }): JSX.Element {
  if (of.drift) return <Status of={of.drift.state} />;
  return <span class="quiet">{of.superseded ? "superseded" : "–"}</span>;
}
