// The parameters of a pattern as fields of a form, made from its JSON Schema: choices, numbers, switches, lists of words;
// what is none of these is typed as JSON. What the server makes of it is the server's word.

import type { JSX } from "preact";
import type { ParameterSchema } from "./answers";
import { CallError } from "./call";

type Kind = "choice" | "number" | "text" | "list" | "json";

/** Returns the types that a value may have, `null` aside: leaving a field empty says that. */
function types(schema: ParameterSchema): string[] {
  return [schema.type ?? []].flat().filter((type) => type !== "null");
}

/** Returns the values to choose from, where there are some. */
function choices(schema: ParameterSchema): unknown[] | undefined {
  if (schema.enum) return schema.enum.filter((each) => each !== null);
  const cases = schema.oneOf ?? schema.anyOf;
  if (cases?.every((each) => each.const !== undefined)) return cases.map((each) => each.const);
  return types(schema).join() === "boolean" ? [true, false] : undefined;
}

function kind(schema: ParameterSchema): Kind {
  if (choices(schema)) return "choice";
  const [type, ...others] = types(schema);
  if (type === undefined || others.length > 0) return "json";
  if (type === "integer" || type === "number") return "number";
  if (type === "string") return "text";
  const items = schema.items;
  const words = items && (types(items).join() === "string" || choices(items)?.every((each) => typeof each === "string"));
  return type === "array" && words ? "list" : "json";
}

/** Writes a value as it is typed. */
function typed(schema: ParameterSchema, value: unknown): string {
  if (value === undefined || value === null) return "";
  if (kind(schema) === "list" && Array.isArray(value)) return value.join(", ");
  return typeof value === "string" && kind(schema) !== "json" ? value : JSON.stringify(value);
}

/** Reads what was typed for a parameter. */
export function valueOf(name: string, schema: ParameterSchema, text: string): unknown {
  const wanted = kind(schema);
  if (wanted === "choice") return choices(schema)?.find((each) => String(each) === text) ?? text;
  if (wanted === "text") return text;
  if (wanted === "number") return Number(text);
  if (wanted === "list") {
    const words = text.split(",").map((word) => word.trim());
    return words.filter(Boolean);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new CallError(`${name} must be JSON, such as 3, true, "text" or ["a", "b"].`, "refused");
  }
}

/** One parameter as a field; empty, it is as the pattern has it. */
export function Parameter({
  name,
  of,
  required,
  value,
  set,
}: {
  name: string;
  of: ParameterSchema;
  required: boolean;
  value: string;
  set: (value: string) => void;
}): JSX.Element {
  const preset = typed(of, of.default);
  const wanted = kind(of);
  const list = wanted === "list" && of.items ? choices(of.items) : undefined;
  return (
    <label>
      <code>{name}</code>
      {wanted === "choice" ? (
        <select required={required} value={value} onChange={(event) => set(event.currentTarget.value)}>
          <option value="">{preset ? `${preset}, as it is` : "–"}</option>
          {(choices(of) ?? []).map((each) => (
            <option value={String(each)}>{String(each)}</option>
          ))}
        </select>
      ) : wanted === "number" ? (
        <input
          type="number"
          required={required}
          min={of.minimum}
          max={of.maximum}
          step={types(of)[0] === "integer" ? 1 : "any"}
          placeholder={preset}
          value={value}
          onInput={(event) => set(event.currentTarget.value)}
        />
      ) : (
        <input
          required={required}
          placeholder={preset}
          spellcheck={false}
          value={value}
          onInput={(event) => set(event.currentTarget.value)}
        />
      )}
      {(of.description || wanted === "list" || wanted === "json") && (
        <span class="note">
          {of.description} {wanted === "list" && "Several are separated by commas."}
          {list && ` There are ${list.join(", ")}.`} {wanted === "json" && "As JSON."}
        </span>
      )}
    </label>
  );
}
