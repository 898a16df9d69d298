// One step in full: its gates with their reasons and probes, its work on each machine, its reviews and its outputs.

import type { JSX } from "preact";
import type { Failure, Gate, OnMachine, StepRow } from "./answers";
import { Diff, isDiff } from "./diff";
import { between, counted, moment, span, words } from "./format";
import { Status, Text } from "./parts";
import { link } from "./route";

/** Why something failed, and what would help. */
export function Why({ of }: { of: Failure }): JSX.Element {
  return (
    <>
      <p>
        <code>{of.code}</code> {of.message}
      </p>
      {of.hint && <p class="hint">{of.hint}</p>}
    </>
  );
}

/** One step, folded up until somebody wants to know. */
export function Step({ of, now, open }: { of: StepRow; now: number; open: boolean }): JSX.Element {
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
            {of.machines_omitted ? <li class="quiet">and {counted(of.machines_omitted, "more machine")}</li> : null}
          </ul>
        )}
        {of.report && (
          <p>
            Reported by <b>{of.performer}</b>: {of.report}
          </p>
        )}
        {of.child_execution_id && (
          <p>
            Runs <a href={link(["executions", of.child_execution_id])}>an execution of its own</a>.
          </p>
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
          {of.reasons_omitted ? <li class="quiet">and {counted(of.reasons_omitted, "more reason")}</li> : null}
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
