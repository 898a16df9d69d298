// Numbers as a table whose cells carry bars: read by eye at a glance, and by screen readers as the table that it is.

import type { JSX } from "preact";

export interface BarRow {
  key: string;
  label: string;
  note: string;
  values: number[];
}

export function Bars({
  rows,
  names,
  show,
}: {
  rows: BarRow[];
  names: string[];
  show: (value: number) => string;
}): JSX.Element {
  const most = Math.max(...rows.flatMap((row) => row.values), Number.MIN_VALUE);
  return (
    <div class="scroll">
      <table class="bars">
        <thead>
          <tr>
            <th scope="col">
              <span class="unseen">Name</span>
            </th>
            {names.map((name) => (
              <th scope="col" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key}>
              <th scope="row">
                {row.label} <span class="quiet">{row.note}</span>
              </th>
              {row.values.map((value, index) => (
                <td key={names[index]}>
                  <span class="bar">
                    <svg width="100%" height="6" preserveAspectRatio="none" viewBox="0 0 100 6" aria-hidden="true">
                      <rect width={Math.max((100 * value) / most, 0.5)} height="6" />
                    </svg>
                  </span>
                  {show(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
