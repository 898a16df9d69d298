// Figures over a span of time: how it went as curves, and what it adds up to as tables.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { HistoryPart, Metrics as Answer } from "../answers";
import { Bars } from "../bars";
import { type ChartOf, Lines, Stack } from "../charts";
import { span, words } from "../format";
import { useNews } from "../live";
import { useTool } from "../load";
import { Empty, Fact, Show, useTitle } from "../parts";
import { go } from "../route";

const RANGES: [string, string][] = [
  ["15m", "last 15 minutes"],
  ["24h", "last 24 hours"],
  ["7d", "last 7 days"],
  ["30d", "last 30 days"],
  ["all", "all of it"],
];

/** Figures are read from everything that is kept of the span, so no more often, in milliseconds. */
const PACE_MS = 3_000;

/** How many patterns a curve shows; more would be a tangle. */
const CURVES_MAX = 4;

export function Metrics({ query }: { query: URLSearchParams }): JSX.Element {
  const range = RANGES.find(([range]) => range === query.get("range"))?.[0] ?? "24h";
  const workflow = query.get("workflow") ?? "";
  const [typed, setTyped] = useState(workflow);
  useTitle("Metrics");
  useEffect(() => setTyped(workflow), [workflow]);
  const args = { time_range: range, history: true, ...(workflow && { workflow_id: workflow }) };
  const metrics = useTool<Answer>("get_workflow_metrics", args, PACE_MS);
  useNews(() => metrics.again(), [metrics.again]);
  const known = (metrics.value?.durations ?? []).filter((each) => each.scope === "workflow").map((each) => each.name);
  return (
    <>
      <h1>Metrics</h1>
      <form
        class="filters"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          go(["metrics"], { range, workflow: typed.trim() });
        }}
      >
        <label>
          Time{" "}
          <select
            value={range}
            onChange={(event) => go(["metrics"], { range: event.currentTarget.value, workflow })}
          >
            {RANGES.map(([each, label]) => (
              <option value={each}>{label}</option>
            ))}
          </select>
        </label>
        <label>
          Workflow{" "}
          <input
            type="search"
            list="known-workflows"
            placeholder="all"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        </label>
        <datalist id="known-workflows">
          {known.map((name) => (
            <option value={name} />
          ))}
        </datalist>
        <button>Show</button>
      </form>
      <Show of={metrics}>
        {(value) => (
          <>
            <Sums of={value} />
            <Curves of={value} />
            <Numbers of={value} />
          </>
        )}
      </Show>
    </>
  );
}

function Sums({ of }: { of: Answer }): JSX.Element {
  const { success_rate: rate, ended, started } = of.executions;
  return (
    <dl class="facts">
      <Fact name="Started">{started}</Fact>
      {Object.entries(ended).map(([status, count]) => (
        <Fact key={status} name={words(status)}>
          {count}
        </Fact>
      ))}
      <Fact name="Success">{rate === undefined ? "–" : `${(rate * 100).toFixed(rate < 1 ? 1 : 0)} %`}</Fact>
      <Fact name="Retries">{of.retries_total}</Fact>
    </dl>
  );
}

function Curves({ of }: { of: Answer }): JSX.Element {
  const history = of.history ?? [];
  if (history.length === 0) return <Empty>Nothing ended in this time.</Empty>;
  const chart = (title: string, show: ChartOf["show"], series: ChartOf["series"]): ChartOf => ({
    title,
    at: history.map((part) => part.at),
    seconds: history[0]?.seconds ?? 1,
    show,
    series,
  });
  const counts = (of: (part: HistoryPart) => Record<string, number>, status: string, tone: string) => ({
    name: words(status),
    tone,
    values: history.map((part) => of(part)[status] ?? 0),
  });
  const ended = (part: HistoryPart): Record<string, number> => part.ended;
  const verdicts = (part: HistoryPart): Record<string, number> => part.verdicts;
  return (
    <div class="charts">
      <Stack
        of={chart("Executions that ended", String, [
          counts(ended, "completed", "good"),
          counts(ended, "failed", "bad"),
          counts(ended, "cancelled", "plain"),
        ])}
      />
      <Stack
        of={chart("Judgements of gates", String, [
          counts(verdicts, "pass", "good"),
          counts(verdicts, "fail", "bad"),
          counts(verdicts, "needs-review", "waits"),
          counts(verdicts, "inconclusive", "plain"),
        ])}
      />
      <Lines
        of={chart("How long executions took", span, [
          { name: "half of them at most", tone: "busy", values: history.map((part) => part.p50_ms) },
          { name: "95 of 100 at most", tone: "waits", values: history.map((part) => part.p95_ms) },
        ])}
      />
      <Compliance of={of} />
    </div>
  );
}

const CURVE_TONES = ["busy", "good", "waits", "bad"];

function Compliance({ of }: { of: Answer }): JSX.Element | null {
  const rows = of.compliance ?? [];
  const at = [...new Set(rows.map((row) => row.at))];
  const names = [...new Set(rows.map((row) => row.pattern))].slice(0, CURVES_MAX);
  if (at.length < 2) return null;
  const seconds = (Date.parse(at[1] ?? "") - Date.parse(at[0] ?? "")) / 1000;
  const series = names.map((name, index) => ({
    name,
    tone: CURVE_TONES[index] ?? "plain",
    values: at.map((moment) => rows.find((row) => row.at === moment && row.pattern === name)?.rate),
  }));
  const show = (value: number): string => `${Math.round(value * 100)} %`;
  return <Lines of={{ title: "Components that comply with patterns", at, seconds, series, show }} most={1} />;
}

function Numbers({ of }: { of: Answer }): JSX.Element {
  const failures = of.gates.filter((gate) => gate.verdict !== "pass");
  return (
    <>
      <h2>How long things took</h2>
      {of.durations.length === 0 ? (
        <Empty>Nothing ended in this time.</Empty>
      ) : (
        <Bars
          rows={of.durations.slice(0, 20).map((each) => ({
            key: `${each.scope} ${each.name}`,
            label: each.name,
            note: `${each.scope}, ${each.count}×`,
            values: [each.p50_ms, each.p95_ms, each.p99_ms],
          }))}
          names={["p50", "p95", "p99"]}
          show={span}
        />
      )}
      <h2>Gates that did not open</h2>
      {failures.length === 0 ? (
        <Empty>Every gate opened.</Empty>
      ) : (
        <Bars
          rows={failures.slice(0, 20).map((each) => ({
            key: `${each.validator} ${each.gate} ${each.verdict} ${each.reason}`,
            label: each.reason || each.verdict,
            note: `${each.validator}, ${each.gate}`,
            values: [each.count],
          }))}
          names={["times"]}
          show={String}
        />
      )}
      <h2>Steps that failed</h2>
      {of.failures.length === 0 ? (
        <Empty>None failed.</Empty>
      ) : (
        <Bars
          rows={of.failures.slice(0, 20).map((each) => ({
            key: `${each.subject} ${each.reason}`,
            label: each.subject,
            note: each.reason,
            values: [each.count],
          }))}
          names={["times"]}
          show={String}
        />
      )}
    </>
  );
}
