// Curves over time, drawn as SVG as wide as there is room: counts stacked in bars, values as lines. Each can be read as a
// table too; colours are never the only sign.

import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Series {
  name: string;
  /** `good`, `bad`, `waits`, `busy` or `quiet`. */
  tone: string;
  /** One value for each part; nothing where there is none. */
  values: (number | undefined)[];
}

export interface ChartOf {
  title: string;
  /** When each part begins. */
  at: string[];
  /** How long each is, in seconds. */
  seconds: number;
  series: Series[];
  show: (value: number) => string;
}

const HEIGHT = 180;
const TOP = 10;
const BOTTOM = 24;
const LEFT = 58;
const RIGHT = 8;

/** Narrower than this nothing can be read, in pixels. */
const WIDTH_MIN = 220;

/** Returns how wide an element is, and again when that changes. */
function useWidth(): [{ current: HTMLElement | null }, number] {
  const element = useRef<HTMLElement>(null);
  const [width, set] = useState(WIDTH_MIN);
  useLayoutEffect(() => {
    const seen = element.current;
    if (!seen) return undefined;
    const measure = (): void => {
      const { paddingLeft, paddingRight } = getComputedStyle(seen);
      const room = seen.clientWidth - Number.parseFloat(paddingLeft) - Number.parseFloat(paddingRight);
      set(Math.max(Math.floor(room), WIDTH_MIN));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(seen);
    measure();
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

/** Returns round values from nothing to at least `most`, about four of them. */
export function ticks(most: number, whole: boolean): number[] {
  if (!(most > 0)) return [0, 1];
  const raw = most / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= raw) ?? raw;
  const rounded = whole ? Math.max(Math.round(step), 1) : step;
  return Array.from({ length: Math.ceil(most / rounded) + 1 }, (_, index) => index * rounded);
}

/** Tells the beginning of a part as briefly as its length allows. */
function brief(at: string, seconds: number): string {
  const form: Intl.DateTimeFormatOptions =
    seconds >= 86_400
      ? { month: "short", day: "numeric" }
      : seconds >= 10_800
        ? { weekday: "short", hour: "2-digit", minute: "2-digit" }
        : { hour: "2-digit", minute: "2-digit", ...(seconds < 60 && { second: "2-digit" }) };
  return new Intl.DateTimeFormat(undefined, form).format(new Date(at));
}

function whole(at: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));
}

function Frame({
  of,
  most,
  whole: counts,
  children,
}: {
  of: ChartOf;
  most: number;
  whole: boolean;
  children: (x: (index: number) => number, step: number, y: (value: number) => number) => ComponentChildren;
}): JSX.Element {
  const [element, width] = useWidth();
  const heading = useId();
  const marks = ticks(most, counts);
  const top = marks.at(-1) ?? 1;
  const step = (width - LEFT - RIGHT) / Math.max(of.at.length, 1);
  const x = (index: number): number => LEFT + index * step;
  const y = (value: number): number => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  // A label needs room for itself.
  const every = Math.max(Math.ceil(84 / step), 1);
  return (
    <figure class="card chart" aria-labelledby={heading} ref={(found: HTMLElement | null) => void (element.current = found)}>
      <figcaption id={heading}>{of.title}</figcaption>
      <ul class="legend">
        {of.series.map((series) => (
          <li class={series.tone} key={series.name}>
            {series.name}
          </li>
        ))}
      </ul>
      <svg width={width} height={HEIGHT} aria-hidden="true">
        {marks.map((mark) => (
          <g key={mark}>
            <line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(mark)} y2={y(mark)} />
            <text class="mark" x={LEFT - 6} y={y(mark) + 4} text-anchor="end">
              {of.show(mark)}
            </text>
          </g>
        ))}
        {of.at.map((at, index) =>
          index % every === 0 && x(index) + 60 < width ? (
            <text class="mark" key={at} x={x(index)} y={HEIGHT - 6}>
              {brief(at, of.seconds)}
            </text>
          ) : null,
        )}
        {children(x, step, y)}
      </svg>
      <AsTable of={of} />
    </figure>
  );
}

function AsTable({ of }: { of: ChartOf }): JSX.Element {
  const rows = of.at
    .map((at, index) => ({ at, values: of.series.map((series) => series.values[index]) }))
    .filter(({ values }) => values.some(Boolean));
  return (
    <details class="text">
      <summary>As a table</summary>
      {rows.length === 0 ? (
        <p class="quiet">Nothing happened.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label={`${of.title} as a table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                {of.series.map((series) => (
                  <th scope="col" class="number" key={series.name}>
                    {series.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(({ at, values }) => (
                <tr key={at}>
                  <th scope="row">{whole(at)}</th>
                  {values.map((value, index) => (
                    <td class="number" key={of.series[index]?.name}>
                      {value === undefined ? "–" : of.show(value)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

/** Counts, stacked, a bar for each part. */
export function Stack({ of }: { of: ChartOf }): JSX.Element {
  const sums = of.at.map((_, index) => of.series.reduce((sum, series) => sum + (series.values[index] ?? 0), 0));
  const hatch = useId();
  return (
    <Frame of={of} most={Math.max(...sums, 1)} whole>
      {(x, step, y) => (
        <>
          <defs>
            <pattern id={hatch} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <line class="hatch" x1="0" y1="0" x2="0" y2="5" />
            </pattern>
          </defs>
          {of.at.map((at, index) => {
            let below = 0;
            const told = of.series.map((series) => `${series.values[index] ?? 0} ${series.name}`).join(", ");
            return (
              <g key={at}>
                <title>{`${whole(at)}: ${told}`}</title>
                <rect class="reach" x={x(index)} y={TOP} width={step} height={HEIGHT - TOP - BOTTOM} />
                {of.series.map((series) => {
                  const value = series.values[index] ?? 0;
                  if (value === 0) return null;
                  const place = {
                    x: x(index) + step * 0.14,
                    y: y(below + value),
                    width: step * 0.72,
                    height: y(below) - y(below + value),
                  };
                  below += value;
                  return (
                    <>
                      <rect class={`value ${series.tone}`} {...place} />
                      {series.tone === "bad" && <rect fill={`url(#${hatch})`} {...place} />}
                    </>
                  );
                })}
              </g>
            );
          })}
        </>
      )}
    </Frame>
  );
}

/** Values, a line for each series; parts without one are left out and not taken for nothing. */
export function Lines({ of, most }: { of: ChartOf; most?: number }): JSX.Element {
  const values = of.series.flatMap((series) => series.values.filter((value) => value !== undefined));
  return (
    <Frame of={of} most={most ?? Math.max(...values, 0)} whole={false}>
      {(x, step, y) => (
        <>
          {of.series.map((series, nth) => {
            const points = series.values.flatMap((value, index) =>
              value === undefined ? [] : [{ x: x(index) + step / 2, y: y(value), value, at: of.at[index] ?? "" }],
            );
            const path = points.map((point, index) => `${index ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}`);
            return (
              <g class={`line ${series.tone} nth${nth}`} key={series.name}>
                <path d={path.join("")} />
                {points.map((point) => (
                  <circle key={point.at} cx={point.x} cy={point.y} r="3">
                    <title>{`${whole(point.at)}: ${series.name} ${of.show(point.value)}`}</title>
                  </circle>
                ))}
              </g>
            );
          })}
        </>
      )}
    </Frame>
  );
}
