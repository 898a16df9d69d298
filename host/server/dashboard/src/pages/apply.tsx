// The form that plans a pattern on a component: names are completed, parameters come from the pattern's own schema. A plan
// writes nothing; its page shows what would change and applies exactly that.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { keepName, lastName } from "../act";
import type { ApplicationDetails, Plugin, PluginList } from "../answers";
import { CallError, call } from "../call";
import { completions } from "../http";
import { useTool } from "../load";
import { Parameter, valueOf } from "../parameters";
import { Empty, Show, useTitle } from "../parts";
import { go } from "../route";

/** How long somebody must have paused typing before names are asked for, in milliseconds. */
const TYPING_MS = 150;

export function Apply({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Apply a pattern");
  const loaded = useTool<PluginList>("list_patterns", {});
  return (
    <>
      <h1>Apply a pattern</h1>
      <Show of={loaded}>
        {({ patterns }) =>
          patterns.length === 0 ? (
            <Empty>There are no patterns.</Empty>
          ) : (
            <Form patterns={patterns} pattern={query.get("pattern") ?? ""} component={query.get("component") ?? ""} />
          )
        }
      </Show>
    </>
  );
}

/** Returns the names of components that fit what was typed. */
function useComponents(typed: string): string[] {
  const [names, set] = useState<string[]>([]);
  useEffect(() => {
    const gone = new AbortController();
    const timer = setTimeout(() => {
      void completions("apply_pattern_safely", "target_component", typed, gone.signal).then((found) => {
        if (!gone.signal.aborted) set(found);
      });
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, [typed]);
  return names;
}

function Form({
  patterns,
  pattern: wanted,
  component: given,
}: {
  patterns: Plugin[];
  pattern: string;
  component: string;
}): JSX.Element {
  const [name, setName] = useState(patterns.some((each) => each.name === wanted) ? wanted : (patterns[0]?.name ?? ""));
  const [component, setComponent] = useState(given);
  const [values, setValues] = useState<Record<string, string>>({});
  const [review, setReview] = useState(false);
  const [by, setBy] = useState(lastName);
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const names = useComponents(component);
  const pattern = patterns.find((each) => each.name === name);
  const properties = Object.entries(pattern?.parameters_schema.properties ?? {});
  const required = new Set(pattern?.parameters_schema.required ?? []);

  const plan = async (): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    keepName(by);
    try {
      const parameters = Object.fromEntries(
        properties
          .filter(([key]) => (values[key] ?? "") !== "")
          .map(([key, schema]) => [key, valueOf(key, schema, values[key] ?? "")]),
      );
      const planned = await call<ApplicationDetails>("apply_pattern", {
        pattern_name: name,
        target_component: component.trim(),
        parameters,
        dry_run: true,
        allow_review_edits: review,
        by,
      });
      go(["applications", planned.application_id]);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      setProblem(error.message);
      setBusy(false);
    }
  };

  return (
    <form
      class="card apply"
      onSubmit={(event) => {
        event.preventDefault();
        void plan();
      }}
    >
      <label>
        Pattern
        <select
          value={name}
          onChange={(event) => {
            setName(event.currentTarget.value);
            setValues({});
          }}
        >
          {patterns.map((each) => (
            <option value={each.name}>{each.title || each.name}</option>
          ))}
        </select>
        <span class="note">{pattern?.summary}</span>
      </label>
      <label>
        Component
        <input
          required
          list="components"
          autocomplete="off"
          spellcheck={false}
          value={component}
          onInput={(event) => setComponent(event.currentTarget.value)}
        />
        <span class="note">A registered name, or the path of a directory beneath an allowed root.</span>
      </label>
      <datalist id="components">
        {names.map((each) => (
          <option value={each} />
        ))}
      </datalist>
      {properties.length > 0 && (
        <details class="parameters" open={required.size > 0}>
          <summary>Parameters</summary>
          {properties.map(([key, schema]) => (
            <Parameter
              key={`${name} ${key}`}
              name={key}
              of={schema}
              required={required.has(key) && schema.default === undefined}
              value={values[key] ?? ""}
              set={(value) => setValues((before) => ({ ...before, [key]: value }))}
            />
          ))}
        </details>
      )}
      <label>
        Your name
        <input required autocomplete="name" value={by} onInput={(event) => setBy(event.currentTarget.value)} />
      </label>
      <label class="check">
        <input type="checkbox" checked={review} onChange={(event) => setReview(event.currentTarget.checked)} />
        Plan edits that somebody should look at too
      </label>
      <p class="actions">
        <button class="primary" disabled={busy}>
          Show what would change
        </button>
        <span class="quiet">Nothing is written.</span>
      </p>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}
