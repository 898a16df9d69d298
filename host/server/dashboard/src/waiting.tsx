// What an execution waits for, with the form that answers it: work to report, a review, a decision after a crash.

import type { JSX } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { act, keepName, lastName } from "./act";
import type { Waiting } from "./answers";
import { moment } from "./format";

interface Choice {
  value: string;
  label: string;
  danger?: boolean;
}

const TITLES: Record<string, string> = {
  work: "waits for work",
  review: "waits for a review",
  decision: "waits for a decision",
};

const CHOICES: Record<string, Choice[]> = {
  work: [{ value: "", label: "Report as done" }],
  review: [
    { value: "approved", label: "Approve" },
    { value: "rejected", label: "Reject", danger: true },
  ],
  decision: [
    { value: "succeeded", label: "It succeeded" },
    { value: "failed", label: "It failed", danger: true },
    { value: "run_again", label: "Run it again" },
  ],
};

export function WaitsFor({
  execution,
  of,
  again,
  acts,
}: {
  execution: string;
  of: Waiting;
  again: () => void;
  acts: boolean;
}): JSX.Element {
  const [name, setName] = useState(lastName);
  const [words, setWords] = useState("");
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const heading = useId();
  const form = useRef<HTMLFormElement>(null);

  const answer = async (choice: string): Promise<void> => {
    setBusy(true);
    keepName(name);
    const who = of.kind === "review" ? { reviewer: name, reason: words } : { performer: name, summary: words };
    const args = { execution_id: execution, step_id: of.step_id, ...who, ...(choice && { decision: choice }) };
    setProblem(await act(of.kind === "review" ? "review_step" : "complete_step", args));
    setBusy(false);
    again();
  };

  return (
    <section class="card waits" aria-labelledby={heading}>
      <h2 id={heading}>
        Step {of.step_id} {TITLES[of.kind] ?? "waits"}
      </h2>
      <p class="said">{of.instructions}</p>
      <p class="quiet">
        {of.gate && <>{of.gate} gate · </>}by {of.who}
        {of.review && of.review.approvals_needed !== undefined && (
          <> · {of.review.approvals_given} of {of.review.approvals_needed} approvals</>
        )}
        {of.deadline && <> · until {moment(of.deadline)}</>}
      </p>
      {acts && (
        <form ref={form} onSubmit={(event) => event.preventDefault()}>
          <label>
            Your name
            <input required autocomplete="name" value={name} onInput={(event) => setName(event.currentTarget.value)} />
          </label>
          <label class="wide">
            {of.kind === "work" ? "What you did" : "Why"}
            <textarea required rows={2} value={words} onInput={(event) => setWords(event.currentTarget.value)} />
          </label>
          <p class="actions">
            {(CHOICES[of.kind] ?? []).map((choice) => (
              // No submitting: a frame around the page may forbid it, and a return key must not decide anything.
              <button
                type="button"
                key={choice.value}
                disabled={busy}
                class={choice.danger ? "danger" : "primary"}
                onClick={() => {
                  if (form.current?.reportValidity()) void answer(choice.value);
                }}
              >
                {choice.label}
              </button>
            ))}
          </p>
          {problem && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
        </form>
      )}
    </section>
  );
}
