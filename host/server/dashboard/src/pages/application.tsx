// One use of a pattern: what it changed, who did it and when, what was found before and after, how the component stands
// to it now, and what can be done: apply exactly this plan, or take it back.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { lastName } from "../act";
import type { Application as Row, ApplicationDetails, ApplicationList, Finding } from "../answers";
import { CallError, call } from "../call";
import { Diff } from "../diff";
import { counted, moment } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Button, Empty, Fact, Show, Status, useTitle } from "../parts";
import { go, link } from "../route";
import { Drift } from "./applications";

export function Application({ id }: { id: string }): JSX.Element {
  const loaded = useTool<ApplicationList>("list_pattern_applications", { application_id: id });
  const row = loaded.value?.applications[0];
  useTitle(row ? `${row.pattern_name} on ${row.target_component}` : id);
  useNews((news) => {
    if (news.kind === "resync") loaded.again();
  }, [loaded.again]);
  return (
    <>
      <p>
        <a href={link(["applications"])}>← Applications</a>
      </p>
      <Show of={loaded}>
        {({ applications: [row], details }) =>
          row && details ? <Whole row={row} of={details} again={loaded.again} /> : <Empty>There is nothing.</Empty>
        }
      </Show>
    </>
  );
}

function Whole({ row, of, again }: { row: Row; of: ApplicationDetails; again: () => void }): JSX.Element {
  const { results } = of;
  return (
    <>
      <header class="head">
        <h1>
          {row.pattern_name} <span class="quiet">{row.pattern_version}</span>
        </h1>
        <Status of={row.status} />
        {row.drift && row.drift.state !== "clean" && <Drift of={row} />}
      </header>
      <p>{results.summary}</p>
      <dl class="facts">
        <Fact name="Component">
          <span class="path">{row.target_component}</span>
        </Fact>
        <Fact name={row.status === "planned" ? "Planned" : "Applied"}>
          {moment(row.applied_at)} by {row.applied_by}
        </Fact>
        {row.execution_id && (
          <Fact name="In">
            <a href={link(["executions", row.execution_id], { step: row.step_id })}>step {row.step_id}</a>
          </Fact>
        )}
        <Fact name="Now">
          <Drift of={row} />
        </Fact>
        <Fact name="Application">
          <code>{row.application_id}</code>
        </Fact>
        {Object.keys(of.parameters).length > 0 && (
          <Fact name="Parameters">
            <code>{JSON.stringify(of.parameters)}</code>
          </Fact>
        )}
      </dl>
      <Actions row={row} of={of} again={again} />
      <Drifted of={row} />
      {of.validation_results.length > 0 && row.status !== "applied" && row.status !== "planned" && (
        <ul class="card waits" aria-label="What stood in the way">
          {of.validation_results.map((line) => (
            <li>{line}</li>
          ))}
        </ul>
      )}
      {of.next_steps.length > 0 && (
        <section class="card" aria-label="What else to do">
          <h2>What else to do</h2>
          <ul>
            {of.next_steps.map((step) => (
              <li key={step.id}>
                <b>{step.title}</b> {step.blocking && <span class="quiet">needed</span>}
                <div>{step.instructions}</div>
              </li>
            ))}
          </ul>
        </section>
      )}
      <h2>{row.status === "planned" ? "What would change" : "What changed"}</h2>
      {results.diff ? <Diff of={results.diff} /> : <Empty>Nothing.</Empty>}
      {results.diff_truncated && <p class="quiet">The diff is longer; this is its beginning.</p>}
      {results.withheld.length > 0 && (
        <>
          <h2>Left out, because somebody should look at it</h2>
          <ul>
            {results.withheld.map((edit) => (
              <li>
                <code>{edit.path}</code> {edit.rationale}
              </li>
            ))}
          </ul>
        </>
      )}
      <Findings name="Found before" of={results.findings_before} total={results.findings_before_total} />
      <Findings name="Found after" of={results.findings_after} total={results.findings_after_total} />
    </>
  );
}

function Actions({ row, of, again }: { row: Row; of: ApplicationDetails; again: () => void }): JSX.Element {
  const [problem, setProblem] = useState<string>();
  const attempt = async (does: () => Promise<void>): Promise<void> => {
    try {
      setProblem(undefined);
      await does();
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      setProblem(error.message);
      again();
    }
  };
  const by = lastName();
  const apply = (): Promise<void> =>
    attempt(async () => {
      const applied = await call<ApplicationDetails>("apply_pattern", {
        pattern_name: row.pattern_name,
        target_component: row.target_component,
        plan_id: of.plan_id,
        ...(by && { by }),
      });
      go(["applications", applied.application_id]);
    });
  const revert = (): Promise<void> =>
    attempt(async () => {
      await call("revert_pattern_application", { application_id: row.application_id, ...(by && { by }) });
      again();
    });
  return (
    <p class="actions">
      {row.status === "planned" && of.plan_id && (
        <Button
          label="Apply exactly this"
          sure={`Write ${counted(row.changed_files_total, "file")}?`}
          onPress={apply}
        />
      )}
      {row.status === "applied" && !row.superseded && (
        <Button label="Take it back" sure="Restore the files as they were before?" danger onPress={revert} />
      )}
      {row.drift && row.drift.state !== "clean" && (
        <a class="button" href={link(["apply"], { pattern: row.pattern_name, component: row.target_component })}>
          Plan it anew
        </a>
      )}
      {problem && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </p>
  );
}

function Drifted({ of }: { of: Row }): JSX.Element | null {
  if (of.drift_problem) return <p class="problem">{of.drift_problem}</p>;
  if (!of.drift || of.drift.state === "clean") return null;
  return (
    <section class="card waits" aria-label="What has drifted">
      <h2>Since then</h2>
      {of.drift.installed_version && <p>Version {of.drift.installed_version} of the pattern is installed now.</p>}
      <ul>
        {of.drift.files.map((file) => (
          <li key={file.path}>
            <Status of={file.state} /> <code>{file.path}</code>{" "}
            <span class="quiet">{file.ownership === "block" ? "the pattern owns a part" : "the pattern owns it"}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Findings({ name, of, total }: { name: string; of: Finding[]; total: number }): JSX.Element {
  return (
    <details class="text" open={of.length > 0 && of.length <= 12}>
      <summary>
        {name}: {total}
      </summary>
      {of.length > 0 && (
        <ul class="findings">
          {of.map((finding) => (
            <li key={finding.fingerprint}>
              <Status of={finding.severity} /> <code>{finding.rule}</code> {finding.message}{" "}
              {finding.place && <code>{finding.place}</code>}
              {finding.remediation && <div class="hint">{finding.remediation}</div>}
            </li>
          ))}
        </ul>
      )}
      {total > of.length && <p class="quiet">and {total - of.length} more</p>}
    </details>
  );
}
