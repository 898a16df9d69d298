// Patterns and validators with their rules, and files that were refused with the reason and what would help.

import type { JSX } from "preact";
import type { Plugin, PluginList } from "../answers";
import { counted } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Empty, Show, useTitle } from "../parts";
import { link } from "../route";

export function Plugins(): JSX.Element {
  useTitle("Plugins");
  const loaded = useTool<PluginList>("list_patterns", { kind: "all", include_refused: true });
  useNews(
    (news) => {
      if (news.kind !== "execution") loaded.again();
    },
    [loaded.again],
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
                      <code>{each.source}</code> was refused at the stage <b>{each.stage}</b>: {each.reason}
                      {each.hint && <div class="hint">{each.hint}</div>}
                    </li>
                  ))}
                </ul>
              </section>
            )}
            <h2>Patterns</h2>
            <Kind of={list.patterns} applied />
            <h2>Validators</h2>
            <Kind of={list.validators ?? []} />
          </>
        )}
      </Show>
    </>
  );
}

function Kind({ of, applied }: { of: Plugin[]; applied?: boolean }): JSX.Element {
  if (of.length === 0) return <Empty>None.</Empty>;
  return (
    <ul class="plugins">
      {of.map((each) => (
        <li key={each.name} class="card">
          <h3>
            {each.title} <span class="quiet">{each.name} {each.version}</span>
          </h3>
          <p>{each.summary}</p>
          {applied && (
            <p>
              <a href={link(["apply"], { pattern: each.name })}>
                Apply<span class="unseen"> {each.name}</span>
              </a>{" "}
              ·{" "}
              <a href={link(["applications"], { pattern: each.name })}>
                Where it was applied<span class="unseen"> ({each.name})</span>
              </a>
            </p>
          )}
          {each.rules && each.rules.length > 0 && (
            <details class="text">
              <summary>{counted(each.rules.length, "rule")}</summary>
              <ul>
                {each.rules.map((rule) => (
                  <li key={rule.id}>
                    <code>{rule.id}</code> {rule.title}{" "}
                    <span class="quiet">
                      {rule.severity}
                      {rule.fixable && ", fixable"}
                    </span>
                  </li>
                ))}
              </ul>
            </details>
          )}
          <p class="quiet">
            {each.source} · <code title={each.digest}>{each.digest.slice(0, 19)}…</code>
          </p>
        </li>
      ))}
    </ul>
  );
}
