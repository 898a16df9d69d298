// The workflows that are kept, and how each last ended.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { act } from "../act";
import type { WorkflowList } from "../answers";
import { moment } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Empty, Show, Status, useTitle } from "../parts";
import { link } from "../route";

export function Workflows(): JSX.Element {
  useTitle("Workflows");
  const [cursors, setCursors] = useState<string[]>([]);
  const [problem, setProblem] = useState<string>();
  const cursor = cursors.at(-1);
  const loaded = useTool<WorkflowList>("list_workflows", { limit: 50, ...(cursor && { cursor }) });
  useNews(() => loaded.again(), [loaded.again]);
  const run = async (workflow_id: string): Promise<void> => {
    setProblem(await act("execute_workflow", { workflow_id }));
    loaded.again();
  };
  return (
    <>
      <h1>Workflows</h1>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <Show of={loaded}>
        {(list) =>
          list.workflows.length === 0 ? (
            <Empty>
              No workflow is kept yet. Make one with the tool <code>create_workflow</code>.
            </Empty>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Workflow</th>
                    <th scope="col">Status</th>
                    <th scope="col" class="number">
                      Revision
                    </th>
                    <th scope="col" class="number">
                      Steps
                    </th>
                    <th scope="col">Changed</th>
                    <th scope="col">Last execution</th>
                    <th scope="col">
                      <span class="unseen">What can be done</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {list.workflows.map((each) => (
                    <tr key={each.workflow_id}>
                      <td>
                        <a href={link(["executions"], { workflow: each.workflow_id })}>{each.workflow_id}</a>
                        {each.description && <div class="quiet">{each.description}</div>}
                      </td>
                      <td>
                        <Status of={each.status} />
                      </td>
                      <td class="number">{each.revision}</td>
                      <td class="number">{each.steps}</td>
                      <td>{moment(each.updated_at)}</td>
                      <td>
                        {each.last_execution ? (
                          <a href={link(["executions", each.last_execution.execution_id])}>
                            <Status of={each.last_execution.status} />
                          </a>
                        ) : (
                          "–"
                        )}
                      </td>
                      <td>
                        <button onClick={() => void run(each.workflow_id)} aria-label={`Run ${each.workflow_id}`}>
                          Run
                        </button>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
              <p class="actions">
                {cursor && <button onClick={() => setCursors(cursors.slice(0, -1))}>Newer</button>}
                {list.next_cursor && (
                  <button onClick={() => setCursors([...cursors, list.next_cursor as string])}>Older</button>
                )}
              </p>
            </div>
          )
        }
      </Show>
    </>
  );
}
