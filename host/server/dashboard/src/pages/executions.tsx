// The list of executions: newest first, filtered by status and workflow, older ones on demand, kept up by the stream.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ExecutionList, ExecutionRow } from "../answers";
import { call } from "../call";
import { ago, between, moment, span } from "../format";
import { type Change, useNews } from "../live";
import { useTool } from "../load";
import { Empty, Progress, Show, Status, useNow, useTitle } from "../parts";
import { go, link } from "../route";

const STATUSES = ["executing", "paused", "completed", "failed", "cancelled"];
const PAGE = 50;

/** How much of what was heard is kept until the next list; no list is under way for so long. */
const HEARD_MAX = 500;

function row(change: Change, before: ExecutionRow | undefined): ExecutionRow {
  const { execution_id, workflow_id, status, started_at, ended_at, done, total } = change;
  const revision = before?.revision ?? 0;
  return { execution_id, workflow_id, revision, status, started_at, ended_at, done, total };
}

/** What the list shows, and whether there is more of it. */
interface Shown {
  status: string;
  workflow: string;
  goesOn: boolean;
}

/** Puts a change into a list that is newest first, or takes out what does not fit the filter any more. What is older than
 * everything in a list that goes on stands on a later page. */
function merge(rows: ExecutionRow[], change: Change, { status, workflow, goesOn }: Shown): ExecutionRow[] {
  const known = rows.findIndex((other) => other.execution_id === change.execution_id);
  const fits = (!status || status === change.status) && (!workflow || workflow === change.workflow_id);
  if (known >= 0) return fits ? rows.with(known, row(change, rows[known])) : rows.toSpliced(known, 1);
  if (!fits) return rows;
  const started = Date.parse(change.started_at);
  // Changes come in the order in which they happened last, not in which they began.
  const place = rows.findIndex((other) => Date.parse(other.started_at) <= started);
  if (place < 0) return goesOn ? rows : [...rows, row(change, undefined)];
  return rows.toSpliced(place, 0, row(change, undefined));
}

export function Executions({ query }: { query: URLSearchParams }): JSX.Element {
  const status = query.get("status") ?? "";
  const workflow = query.get("workflow") ?? "";
  useTitle("Executions");
  const filter = { ...(status && { status_filter: status }), ...(workflow && { workflow_id: workflow }) };
  const first = useTool<ExecutionList>("list_executions", { ...filter, limit: PAGE });
  const [rows, setRows] = useState<ExecutionRow[]>([]);
  const [cursor, setCursor] = useState<string>();
  const [typed, setTyped] = useState(workflow);
  const now = useNow(rows.some((each) => !each.ended_at));

  // What was heard while the list was under way is newer than the list.
  const heard = useRef<{ at: number; change: Change }[]>([]);
  useEffect(() => {
    heard.current = heard.current.filter(({ at }) => at >= first.asked);
    const listed = first.value?.executions ?? [];
    const shown = { status, workflow, goesOn: Boolean(first.value?.next_cursor) };
    setRows(heard.current.reduce((rows, { change }) => merge(rows, change, shown), listed));
    setCursor(first.value?.next_cursor);
  }, [first.value]);
  useEffect(() => setTyped(workflow), [workflow]);
  useNews(
    (news) => {
      if (news.kind === "resync") first.again();
      else if (news.kind === "execution") {
        heard.current.push({ at: performance.now(), change: news.change });
        if (heard.current.length > HEARD_MAX) heard.current.shift();
        setRows((before) => merge(before, news.change, { status, workflow, goesOn: Boolean(cursor) }));
      }
    },
    [status, workflow, cursor, first.again],
  );

  const older = async (): Promise<void> => {
    const next = await call<ExecutionList>("list_executions", { ...filter, limit: PAGE, cursor });
    setRows((before) => {
      const known = new Set(before.map((each) => each.execution_id));
      return [...before, ...next.executions.filter((each) => !known.has(each.execution_id))];
    });
    setCursor(next.next_cursor);
  };

  return (
    <>
      <h1>Executions</h1>
      <form
        class="filters"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          go(["executions"], { status, workflow: typed.trim() });
        }}
      >
        <label>
          Status{" "}
          <select
            value={status}
            onChange={(event) => go(["executions"], { status: event.currentTarget.value, workflow })}
          >
            <option value="">all</option>
            {STATUSES.map((each) => (
              <option value={each}>{each}</option>
            ))}
          </select>
        </label>
        <label>
          Workflow{" "}
          <input
            type="search"
            placeholder="all"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
        <button>Filter</button>
      </form>
      <Show of={first}>
        {() =>
          rows.length === 0 ? (
            <Empty>
              {status || workflow ? (
                <>
                  No execution fits. <a href={link(["executions"])}>Show all</a>
                </>
              ) : (
                <>
                  Nothing has run yet. Start one with the tool <code>execute_workflow</code> or with{" "}
                  <code>caelum-workflow run FILE</code>.
                </>
              )}
            </Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Execution</th>
                    <th scope="col">Workflow</th>
                    <th scope="col">Status</th>
                    <th scope="col">Steps</th>
                    <th scope="col">Started</th>
                    <th scope="col" class="number">
                      Took
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {rows.map((each) => (
                    <tr key={each.execution_id}>
                      <td>
                        <a href={link(["executions", each.execution_id])}>
                          <code>{each.execution_id.slice(0, 14)}…</code>
                        </a>
                      </td>
                      <td>
                        <a href={link(["executions"], { status, workflow: each.workflow_id })}>{each.workflow_id}</a>
                      </td>
                      <td>
                        <Status of={each.status} />
                      </td>
                      <td>
                        <Progress done={each.done} total={each.total} />
                      </td>
                      <td>
                        <time dateTime={each.started_at} title={moment(each.started_at)}>
                          {ago(each.started_at, Math.max(now, Date.now()))}
                        </time>
                      </td>
                      <td class="number">{span(between(each.started_at, each.ended_at, now))}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Show>
      {cursor && <button onClick={() => void older()}>Older</button>}
    </>
  );
}
