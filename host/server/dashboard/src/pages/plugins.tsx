// Patterns, validators, files that were refused with the reason, and where patterns were applied.

import type { JSX } from "preact";
import type { ApplicationList, Plugin, PluginList } from "../answers";
import { moment } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Empty, Show, Status, useTitle } from "../parts";
import { link } from "../route";

export function Plugins(): JSX.Element {
  useTitle("Plugins");
  const loaded = useTool<PluginList>("list_patterns", { kind: "all", include_refused: true });
  const applied = useTool<ApplicationList>("list_pattern_applications", { limit: 50 });
  useNews(
    (news) => {
      if (news.kind === "resync") {
        loaded.again();
        applied.again();
      }
    },
    [loaded.again, applied.again],
  );
  return (
    <>
      <h1>Plugins</h1>
      <Show of={loaded}>
        {(list) => (
          <>
            {list.refused && list.refused.length > 0 && (
              <section class="card bad" aria-label="Refused files">
                <h2>Refused files</h2>
                <ul>
                  {list.refused.map((each) => (
                    <li key={each.source}>
                      <code>{each.source}</code> at {each.stage}: {each.reason}
                      {each.hint && <div class="hint">{each.hint}</div>}
                    </li>
                  ))}
                </ul>
              </section>
            )}
            <h2>Patterns</h2>
            <Kind of={list.patterns} />
            <h2>Validators</h2>
            <Kind of={list.validators ?? []} />
          </>
        )}
      </Show>
      <h2>Applications</h2>
      <Show of={applied}>
        {(list) =>
          list.applications.length === 0 ? (
            <Empty>
              No pattern was applied yet. Plan one with the tool <code>apply_pattern</code> and <code>dry_run</code>.
            </Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Pattern</th>
                    <th scope="col">Component</th>
                    <th scope="col">Status</th>
                    <th scope="col">Now</th>
                    <th scope="col">Files</th>
                    <th scope="col">Applied</th>
                  </tr>
                </thead>
                <tbody>
                  {list.applications.map((each) => (
                    <tr key={each.application_id}>
                      <td>
                        {each.pattern_name} <span class="quiet">{each.pattern_version}</span>
                      </td>
                      <td>{each.target_component}</td>
                      <td>
                        <Status of={each.status} />
                      </td>
                      <td>{each.drift ? <Status of={each.drift.state} /> : "–"}</td>
                      <td>{each.changed_files.join(", ")}</td>
                      <td>
                        {moment(each.applied_at)} by{" "}
                        {each.execution_id ? (
                          <a href={link(["executions", each.execution_id])}>an execution</a>
                        ) : (
                          each.applied_by
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Show>
    </>
  );
}

function Kind({ of }: { of: Plugin[] }): JSX.Element {
  if (of.length === 0) return <Empty>None.</Empty>;
  return (
    <ul class="plugins">
      {of.map((each) => (
        <li key={each.name} class="card">
          <h3>
            {each.title} <span class="quiet">{each.name} {each.version}</span>
          </h3>
          <p>{each.summary}</p>
          <p class="quiet">
            {each.source} · <code title={each.digest}>{each.digest.slice(0, 19)}…</code>
          </p>
        </li>
      ))}
    </ul>
  );
}
