// One execution: where it stands, what it waits for, its steps as a graph and in full, and what can be done with it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { act } from "./act";
import type { ExecutionStatus } from "./answers";
import { between, counted, moment, span, words } from "./format";
import { StepGraph } from "./graph";
import { Button, Fact, Progress, Status, useNow } from "./parts";
import { link } from "./route";
import { Step, Why } from "./step";
import { WaitsFor } from "./waiting";

/** An execution as it stands; `acts` says whether anything can be done with it from here. */
export function Whole({
  of,
  chosen,
  again,
  acts,
}: {
  of: ExecutionStatus;
  chosen: string | undefined;
  again: () => void;
  acts: boolean;
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
        {of.parent && (
          <Fact name="Part of">
            <a href={link(["executions", of.parent.execution_id], { step: of.parent.step_id })}>{of.parent.step_id}</a>
          </Fact>
        )}
        {of.estimated_completion && <Fact name="Expected to end">{moment(of.estimated_completion)}</Fact>}
        {Object.keys(of.parameters).length > 0 && (
          <Fact name="Parameters">
            <code>{JSON.stringify(of.parameters)}</code>
          </Fact>
        )}
      </dl>
      {acts && <Controls of={of} again={again} />}
      {of.paused_by && <p>Paused by {of.paused_by}</p>}
      {of.cancelled_by && <p>Cancelled by {of.cancelled_by}</p>}
      {of.failure && (
        <section class="card bad" aria-label="Why it failed">
          <h2>
            Step <a href={link(here, { step: of.failure.step_id })}>{of.failure.step_id}</a> failed
          </h2>
          <Why of={of.failure.failure} />
          {of.failure.steps_not_run > 0 && <p>{counted(of.failure.steps_not_run, "step")} did not run because of it.</p>}
        </section>
      )}
      {of.waiting_for?.map((waiting) => (
        <WaitsFor
          key={`${waiting.execution_id ?? ""} ${waiting.step_id} ${waiting.kind}`}
          execution={waiting.execution_id ?? of.execution_id}
          of={waiting}
          again={again}
          acts={acts}
        />
      ))}
      {of.waiting_omitted ? <p class="quiet">It waits for {counted(of.waiting_omitted, "more thing")}.</p> : null}
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
      {of.steps_omitted ? <p class="quiet">Not shown: {counted(of.steps_omitted, "more step")}.</p> : null}
    </>
  );
}

const CONTROLS: { action: string; label: string; when: string[]; sure?: string }[] = [
  { action: "pause", label: "Pause", when: ["executing"] },
  { action: "resume", label: "Resume", when: ["paused"] },
  { action: "retry_failed", label: "Retry what failed", when: ["failed"] },
  { action: "cancel", label: "Cancel", when: ["executing", "paused"], sure: "Cancel it? What runs is ended." },
];

/** Whether a control does something now: what is paused because it waits for somebody is not resumed by a button. */
function offered(control: (typeof CONTROLS)[number], of: ExecutionStatus): boolean {
  return control.when.includes(of.status) && !(control.action === "resume" && of.waiting_for?.length);
}

function Controls({ of, again }: { of: ExecutionStatus; again: () => void }): JSX.Element {
  const [problem, setProblem] = useState<string>();
  const control = async (action: string): Promise<void> => {
    setProblem(await act("control_execution", { execution_id: of.execution_id, action }));
    again();
  };
  return (
    <p class="actions">
      {CONTROLS.filter((control) => offered(control, of)).map(({ action, label, sure }) => (
        <Button key={action} label={label} sure={sure} danger={Boolean(sure)} onPress={() => control(action)} />
      ))}
      {problem && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </p>
  );
}
