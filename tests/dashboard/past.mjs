// A past: executions that really ran, imported again as if they had run over the last hours.

/** Spreads `runs` copies of a workflow's executions over the last `hours`, more of them in the middle of it. */
export async function past(server, workflow_id, { runs, hours }) {
  const exported = await server.call("export_workflow_data", { workflow_id, format: "json", include_executions: true });
  const document = JSON.parse(exported.data);
  const kinds = document.executions;
  const end = Date.now() - 60_000;
  document.executions = Array.from({ length: runs }, (_, index) => {
    const { execution_id, events } = kinds[index % kinds.length];
    const part = (index + 0.5) / runs;
    const start = end - hours * 3_600_000 * (1 - part + 0.11 * Math.sin(2 * Math.PI * part));
    const slower = 1 + 9 * part * (1 + Math.sin(index));
    const first = Date.parse(events[0].at);
    const then = (moment) => new Date(start + (Date.parse(moment) - first) * slower).toISOString();
    return {
      execution_id: execution_id.slice(0, -6) + (index + 1).toString(16).padStart(6, "0"),
      events: JSON.parse(JSON.stringify(events).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, then)),
    };
  });
  await server.call("import_workflow", { data: JSON.stringify(document), if_exists: "new_revision" });
}
