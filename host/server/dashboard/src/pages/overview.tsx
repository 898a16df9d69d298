// How the server is, and what the numbers of a span of time say.

import type { JSX } from "preact";
import type { Health, Metrics } from "../answers";
import { Bars } from "../bars";
import { bytes, span, words } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Empty, Fact, Show, Status, useTitle } from "../parts";
import { go } from "../route";

const RANGES = ["15m", "24h", "7d", "30d", "all"];

export function Overview({ query }: { query: URLSearchParams }): JSX.Element {
  const range = RANGES.includes(query.get("range") ?? "") ? (query.get("range") as string) : "24h";
  useTitle("Health and metrics");
  const health = useTool<Health>("get_system_health", {});
  const metrics = useTool<Metrics>("get_workflow_metrics", { time_range: range });
  useNews(() => {
    health.again();
    metrics.again();
  }, [health.again, metrics.again]);
  return (
    <>
      <h1>Health and metrics</h1>
      <Show of={health}>{(value) => <Wellbeing of={value} />}</Show>
      <h2>Numbers</h2>
      <p class="filters">
        <label>
          Time{" "}
          <select value={range} onChange={(event) => go(["health"], { range: event.currentTarget.value })}>
            {RANGES.map((each) => (
              <option value={each}>{each === "all" ? "all of it" : `last ${each}`}</option>
            ))}
          </select>
        </label>
      </p>
      <Show of={metrics}>{(value) => <Numbers of={value} />}</Show>
    </>
  );
}

function Wellbeing({ of }: { of: Health }): JSX.Element {
  return (
    <>
      <header class="head">
        <Status of={of.status} /> <span>version {of.version}</span> <span>up for {span(of.uptime_s * 1000)}</span>
      </header>
      {of.reasons.length > 0 && (
        <ul class="card bad">
          {of.reasons.map((reason) => (
            <li>{reason}</li>
          ))}
        </ul>
      )}
      <dl class="facts">
        <Counts of={of.store.executions} />
        <Fact name="Store">{bytes(of.store.database_bytes)}</Fact>
        <Fact name="Stuck">{Object.keys(of.stuck).length}</Fact>
        <Counts of={of.queues} />
      </dl>
      <h2>Machines</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Machine</th>
              <th scope="col">Status</th>
              <th scope="col" class="number">
                Running
              </th>
              <th scope="col" class="number">
                Waiting
              </th>
              <th scope="col" class="number">
                Capacity
              </th>
              <th scope="col">Labels</th>
            </tr>
          </thead>
          <tbody>
            {of.machines.map((each) => (
              <tr key={each.machine}>
                <td>
                  {each.machine} {each.aliases.length > 0 && <span class="quiet">({each.aliases.join(", ")})</span>}
                </td>
                <td>
                  <Status of={each.status} />
                </td>
                <td class="number">{each.running}</td>
                <td class="number">{each.waiting}</td>
                <td class="number">{each.capacity}</td>
                <td>
                  {Object.entries(each.labels).map(([key, value]) => (
                    <code>
                      {key}={value}{" "}
                    </code>
                  ))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Counts({ of }: { of: Record<string, number> }): JSX.Element {
  return (
    <>
      {Object.entries(of).map(([name, count]) => (
        <Fact key={name} name={words(name)}>
          {count}
        </Fact>
      ))}
    </>
  );
}

function Numbers({ of }: { of: Metrics }): JSX.Element {
  const { success_rate: rate, ended, started } = of.executions;
  const failures = of.gates.filter((gate) => gate.verdict !== "pass");
  return (
    <>
      <dl class="facts">
        <Fact name="Started">{started}</Fact>
        <Counts of={ended} />
        <Fact name="Success">{rate === undefined ? "–" : `${(rate * 100).toFixed(rate < 1 ? 1 : 0)} %`}</Fact>
        <Fact name="Retries">{of.retries_total}</Fact>
      </dl>
      <h3>How long things took</h3>
      {of.durations.length === 0 ? (
        <Empty>Nothing ended in this time.</Empty>
      ) : (
        <Bars
          rows={of.durations.slice(0, 20).map((each) => ({
            key: `${each.scope} ${each.name}`,
            label: each.name,
            note: `${each.scope}, ${each.count}×`,
            values: [each.p50_ms, each.p95_ms, each.p99_ms],
          }))}
          names={["p50", "p95", "p99"]}
          show={span}
        />
      )}
      <h3>Gates that did not open</h3>
      {failures.length === 0 ? (
        <Empty>Every gate opened.</Empty>
      ) : (
        <Bars
          rows={failures.slice(0, 20).map((each) => ({
            key: `${each.validator} ${each.gate} ${each.verdict} ${each.reason}`,
            label: each.reason || each.verdict,
            note: `${each.validator}, ${each.gate}`,
            values: [each.count],
          }))}
          names={["times"]}
          show={String}
        />
      )}
      <h3>Steps that failed</h3>
      {of.failures.length === 0 ? (
        <Empty>None.</Empty>
      ) : (
        <Bars
          rows={of.failures.slice(0, 20).map((each) => ({
            key: `${each.subject} ${each.reason}`,
            label: each.subject,
            note: each.reason,
            values: [each.count],
          }))}
          names={["times"]}
          show={String}
        />
      )}
    </>
  );
}
