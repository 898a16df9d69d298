// The page of one execution: asks how it stands, and again whenever it changes.

import type { JSX } from "preact";
import type { ExecutionStatus } from "../answers";
import { Whole } from "../execution";
import { useNews } from "../live";
import { useTool } from "../load";
import { Show, useTitle } from "../parts";
import { link } from "../route";

export function Execution({ id, query }: { id: string; query: URLSearchParams }): JSX.Element {
  const loaded = useTool<ExecutionStatus>("get_workflow_status", { execution_id: id });
  useTitle(loaded.value ? `${loaded.value.workflow_id} ${loaded.value.status}` : id);
  useNews(
    (news) => {
      if (news.kind === "resync" || (news.kind === "execution" && news.change.execution_id === id)) loaded.again();
    },
    [id, loaded.again],
  );
  return (
    <>
      <p>
        <a href={link(["executions"])}>← Executions</a>
      </p>
      <Show of={loaded}>
        {(value) => <Whole of={value} chosen={query.get("step") ?? undefined} again={loaded.again} acts />}
      </Show>
    </>
  );
}
