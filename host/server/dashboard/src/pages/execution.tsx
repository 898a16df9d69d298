// One execution: where it stands, what it waits for, its steps as a graph and in full, and what can be done with it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { ExecutionStatus, Failure, Gate, OnMachine, StepRow } from "../answers";
import { act } from "../act";
import { Diff, isDiff } from "../diff";
import { between, moment, span, words } from "../format";
import { StepGraph } from "../graph";
import { useNews } from "../live";
import { useTool } from "../load";
import { Fact, Progress, Show, Status, Text, useNow, useTitle } from "../parts";
import { link } from "../route";
import { WaitsFor } from "./waiting";

export function Execution({ id, query }: { id: string; query: URLSearchParams }): JSX.Element {
  const loaded = useTool<ExecutionStatus>("get_workflow_status", { execution_id: id });
  useTitle(loaded.value ? `${loaded.value.workflow_id} ${loaded.value.status}` : id);
  useNews(
    (news) => {
      if (news.kind === "resync" || news.change.execution_id === id) loaded.again();
    },
    [id, loaded.again],
  );
  return (
    <>
      <p>
        <a href={link(["executions"])}>← Executions</a>
      </p>
      <Show of={loaded}>{(value) => <Whole of={value} chosen={query.get("step") ?? undefined} again={loaded.again} />}</Show>
    </>
  );
}

function Whole({
  of,
  chosen,
  again,
}: {
  of: ExecutionStatus;
  chosen: string | undefined;
  again: () => void;
}): JSX.Element {
  const now = useNow(!of.ended_at);
  const shown = chosen ? of.steps.filter((step) => step.id === chosen) : of.steps;
  const here = ["executions", of.execution_id];
  return (
    <>
      <header class="head">
        <h1>{of.workflow_id}</h1>
        <Status of={of.status} />
        <Progress done={of.progress.done} total={of.progress.total} />
        <span aria-live="polite" class="unseen">
          {of.workflow_id} is {words(of.status)}, {of.progress.done} of {of.progress.total} steps
        </span>
      </header>
      <dl class="facts">
        <Fact name="Execution">
          <code>{of.execution_id}</code>
        </Fact>
        <Fact name="Revision">{of.revision}</Fact>
        <Fact name="Started">
          {moment(of.started_at)} by {of.started_by}
        </Fact>
        <Fact name={of.ended_at ? "Took" : "Runs for"}>{span(between(of.started_at, of.ended_at, now))}</Fact>
        {of.estimated_completion && <Fact name="Expected to end">{moment(of.estimated_completion)}</Fact>}
        {Object.keys(of.parameters).length > 0 && (
          <Fact name="Parameters">
            <code>{JSON.stringify(of.parameters)}</code>
          </Fact>
        )}
      </dl>
      <Controls of={of} again={again} />
      {of.failure && (
        <section class="card bad" aria-label="Why it failed">
          <h2>
            Step <a href={link(here, { step: of.failure.step_id })}>{of.failure.step_id}</a> failed
          </h2>
          <Why of={of.failure.failure} />
          {of.failure.steps_not_run > 0 && <p>{of.failure.steps_not_run} steps did not run because of it.</p>}
        </section>
      )}
      {of.waiting_for?.map((waiting) => (
        <WaitsFor key={`${waiting.step_id} ${waiting.kind}`} execution={of.execution_id} of={waiting} again={again} />
      ))}
      <StepGraph
        nodes={of.steps.map((step) => ({ ...step, dependencies: step.dependencies ?? [] }))}
        chosen={chosen}
        href={(step) => link(here, { step })}
      />
      <h2>
        {chosen ? (
          <>
            Step {chosen} · <a href={link(here)}>all steps</a>
          </>
        ) : (
          "Steps"
        )}
      </h2>
      <ol class="steps">
        {shown.map((step) => (
          <Step key={step.id} of={step} now={now} open={Boolean(chosen) || step.status === "failed"} />
        ))}
      </ol>
    </>
  );
}

const CONTROLS: { action: string; label: string; when: string[] }[] = [
  { action: "pause", label: "Pause", when: ["executing"] },
  { action: "resume", label: "Resume", when: ["paused"] },
  { action: "retry_failed", label: "Retry what failed", when: ["failed"] },
  { action: "cancel", label: "Cancel", when: ["executing", "paused"] },
];

/** Whether a control does something now: what is paused because it waits for somebody is not resumed by a button. */
function offered(control: (typeof CONTROLS)[number], of: ExecutionStatus): boolean {
  return control.when.includes(of.status) && !(control.action === "resume" && of.waiting_for?.length);
}

function Controls({ of, again }: { of: ExecutionStatus; again: () => void }): JSX.Element {
  const [problem, setProblem] = useState<string>();
  return (
    <p class="actions">
      {CONTROLS.filter((control) => offered(control, of)).map(({ action, label }) => (
        <button
          key={action}
          class={action === "cancel" ? "danger" : ""}
          onClick={async () => {
            if (action === "cancel" && !confirm(`Cancel ${of.workflow_id}? What runs is ended.`)) return;
            setProblem(await act("control_execution", { execution_id: of.execution_id, action }));
            again();
          }}
        >
          {label}
        </button>
      ))}
      {problem && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </p>
  );
}

function Why({ of }: { of: Failure }): JSX.Element {
  return (
    <>
      <p>
        <code>{of.code}</code> {of.message}
      </p>
      {of.hint && <p class="hint">{of.hint}</p>}
    </>
  );
}

function Step({ of, now, open }: { of: StepRow; now: number; open: boolean }): JSX.Element {
  return (
    <li>
      <details open={open} class={`step ${of.status}`}>
        <summary>
          <Status of={of.status} /> <b>{of.name}</b> <span class="quiet">{of.action}</span>{" "}
          {of.phase !== of.status && <span class="quiet">· {words(of.phase)}</span>}{" "}
          {of.attempt > 1 && <span class="quiet">· attempt {of.attempt}</span>}
          <span class="took">{span(between(of.started_at, of.ended_at, now))}</span>
        </summary>
        {of.failure && <Why of={of.failure} />}
        {of.gates?.map((gate) => <Judgement of={gate} />)}
        {of.reviews?.map((review) => (
          <p>
            <b>{review.reviewer}</b> {review.decision} on {moment(review.at)}: {review.reason}
          </p>
        ))}
        {of.machines && of.machines.length > 0 && (
          <ul class="machines">
            {of.machines.map((each) => (
              <OnOne of={each} />
            ))}
            {of.machines_omitted ? <li class="quiet">and {of.machines_omitted} more machines</li> : null}
          </ul>
        )}
        {of.outputs && Object.keys(of.outputs).length > 0 && (
          <Text title="Outputs" text={JSON.stringify(of.outputs, null, 2)} />
        )}
      </details>
    </li>
  );
}

function Judgement({ of }: { of: Gate }): JSX.Element {
  return (
    <section class="gate" aria-label={`${of.gate} gate`}>
      <p>
        <Status of={of.verdict} /> <b>{of.validator}</b> <span class="quiet">{of.version}</span> judged the {of.gate}{" "}
        gate {of.timing} the action <span class="quiet">in {span(of.duration_us / 1000)}</span>: {of.summary}
      </p>
      {of.host_reason && <p class="problem">{of.host_reason}</p>}
      {of.reasons && of.reasons.length > 0 && (
        <ul>
          {of.reasons.map((reason) => (
            <li>
              <code>{reason.code}</code> {reason.message} {reason.place && <code>{reason.place}</code>}
            </li>
          ))}
          {of.reasons_omitted ? <li class="quiet">and {of.reasons_omitted} more reasons</li> : null}
        </ul>
      )}
      {of.probes?.map((probe) => (
        <Text title={`Probe ${probe.name} (${probe.kind}) on ${probe.machine}${probe.ok ? "" : ": no answer"}`} text={probe.answer} />
      ))}
    </section>
  );
}

function OnOne({ of }: { of: OnMachine }): JSX.Element {
  const ended = of.exit_code !== undefined ? `, exit code ${of.exit_code}` : of.signal !== undefined ? `, signal ${of.signal}` : "";
  return (
    <li>
      <Status of={of.status} /> on <b>{of.machine}</b>
      {ended} {of.duration_ms !== undefined && <span class="quiet">in {span(of.duration_ms)}</span>}
      {of.failure && <p>{of.failure}</p>}
      {of.stdout?.text && (isDiff(of.stdout.text) ? <Diff of={of.stdout.text} /> : <Text title="Standard output" text={of.stdout.text} />)}
      {of.stderr?.text && <Text title="Standard error" text={of.stderr.text} open={of.status === "failed"} />}
      {of.collected && of.collected.length > 0 && <p class="quiet">Kept as evidence: {of.collected.join(", ")}</p>}
    </li>
  );
}
