// How the server is: reasons when something is wrong, its store and queues, and the machines it can use.

import type { JSX } from "preact";
import type { Health as Answer } from "../answers";
import { bytes, span, words } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Fact, Progress, Show, Status, useTitle } from "../parts";
import { link } from "../route";

/** What hangs on many numbers is asked for no more often, in milliseconds. */
const PACE_MS = 2_000;

export function Health(): JSX.Element {
  useTitle("Health");
  const health = useTool<Answer>("get_system_health", {}, PACE_MS);
  useNews(() => health.again(), [health.again]);
  return (
    <>
      <h1>Health</h1>
      <Show of={health}>{(value) => <Wellbeing of={value} />}</Show>
    </>
  );
}

function Wellbeing({ of }: { of: Answer }): JSX.Element {
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
        <Fact name="Refused plugins">
          {of.plugins.refused.length > 0 ? (
            <a href={link(["plugins"])}>{of.plugins.refused.length}</a>
          ) : (
            0
          )}
        </Fact>
        <Fact name="Stuck">{Object.keys(of.stuck).length}</Fact>
        <Counts of={of.queues} />
      </dl>
      {Object.keys(of.stuck).length > 0 && (
        <ul class="card bad" aria-label="Stuck executions">
          {Object.entries(of.stuck).map(([id, why]) => (
            <li key={id}>
              <a href={link(["executions", id])}>{id}</a>: {why}
            </li>
          ))}
        </ul>
      )}
      <h2>Machines</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="Machines">
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
              <th scope="col">Labels</th>
            </tr>
          </thead>
          <tbody>
            {of.machines.map((each) => (
              <tr key={each.machine}>
                <th scope="row">
                  {each.machine} {each.aliases.length > 0 && <span class="quiet">({each.aliases.join(", ")})</span>}
                </th>
                <td>
                  <Status of={each.status} />
                </td>
                <td class="number">
                  <Progress done={each.running} total={each.capacity} of="places" />
                </td>
                <td class="number">{each.waiting}</td>
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
