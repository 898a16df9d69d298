// What an execution would do: its steps in waves, with machines and gates, and what would go wrong.

import type { JSX } from "preact";
import type { ExecutionStarted } from "./answers";

export function DryRun({ of }: { of: ExecutionStarted }): JSX.Element {
  return (
    <>
      <h1>{of.workflow_id}</h1>
      <p class="quiet">A dry run of revision {of.revision}: nothing was started.</p>
      {of.problems && of.problems.length > 0 && (
        <ul class="card bad" aria-label="What would go wrong">
          {of.problems.map((problem) => (
            <li>{problem}</li>
          ))}
        </ul>
      )}
      <div class="scroll" tabIndex={0} role="region" aria-label="What would run">
        <table>
          <thead>
            <tr>
              <th scope="col" class="number">
                Wave
              </th>
              <th scope="col">Step</th>
              <th scope="col">Does</th>
              <th scope="col">Machines</th>
              <th scope="col">Gates</th>
            </tr>
          </thead>
          <tbody>
            {(of.plan ?? []).map((step) => (
              <tr key={step.id}>
                <td class="number">{step.wave}</td>
                <th scope="row">{step.id}</th>
                <td>{step.action}</td>
                <td>{step.machines.join(", ") || "–"}</td>
                <td>{step.gates.join(", ") || "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
