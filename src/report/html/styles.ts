/** The style sheet of the page. Colours: contrast of text at least 4.5:1 and of chart marks 3:1, on both grounds. */

/** Okabe and Ito's palette, darkened for white and lightened for black: told apart with every colour blindness. */
const ENGINE_COLORS_LIGHT = ['#0072b2', '#c04a00', '#00795a', '#a84c82', '#6b6200', '#5a5f66'];
const ENGINE_COLORS_DARK = ['#56b4e9', '#f0903c', '#2fcba0', '#e39ac4', '#e6d64a', '#b4bac2'];

/** The colours repeat after these; every mark carries its engine's name as well. */
export const ENGINE_COLOR_COUNT = ENGINE_COLORS_LIGHT.length;

const variables = (colors: readonly string[]): string =>
  colors.map((color, index) => `--engine-${index}: ${color};`).join(' ');

const LIGHT = `--ground: #ffffff; --raised: #f5f6f8; --ink: #1a1d21; --quiet: #56606b; --line: #d5dae0;
  --good: #0b6437; --good-ground: #e2f4e9; --neutral: #1d4b8a; --neutral-ground: #e6eefa;
  --caution: #744700; --caution-ground: #fff0d2; --bad: #9c1717; --bad-ground: #fde6e6;
  ${variables(ENGINE_COLORS_LIGHT)}`;
const DARK = `--ground: #14171a; --raised: #1d2125; --ink: #e8eaed; --quiet: #a6afba; --line: #3a4149;
  --good: #84dcaa; --good-ground: #11301f; --neutral: #a2c6ff; --neutral-ground: #16273f;
  --caution: #ffd183; --caution-ground: #382908; --bad: #ffa3a3; --bad-ground: #3f1717;
  ${variables(ENGINE_COLORS_DARK)}`;

export const STYLES = `
:root { color-scheme: light dark; ${LIGHT} }
@media screen and (prefers-color-scheme: dark) { :root { ${DARK} } }
*, *::before, *::after { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
main, footer { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: clamp(1.35rem, 1.1rem + 1.4vw, 2rem); line-height: 1.25; margin: .5rem 0; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p, ul, dl { max-width: 50rem; }
ul { padding-left: 1.2rem; }
li { margin: .3rem 0; }
code { font: .875em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.quiet, figcaption, caption { color: var(--quiet); }
.verdict { border-left: .4rem solid var(--tone); background: var(--tone-ground); padding: 1rem; border-radius: .25rem; }
.verdict p { margin: .4rem 0; }
.good { --tone: var(--good); --tone-ground: var(--good-ground); }
.neutral { --tone: var(--neutral); --tone-ground: var(--neutral-ground); }
.caution { --tone: var(--caution); --tone-ground: var(--caution-ground); }
.bad { --tone: var(--bad); --tone-ground: var(--bad-ground); }
.badge { display: inline-block; font-size: .8rem; font-weight: 700; letter-spacing: .03em; padding: .1rem .5rem; border-radius: .25rem;
  color: var(--tone); background: var(--tone-ground); border: 1px solid currentColor; margin-right: .4rem; overflow-wrap: normal; }
.notice { color: var(--tone); background: var(--tone-ground); border-radius: .25rem; padding: .6rem .8rem; margin: .6rem 0; max-width: none; }
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19.5rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure h3 { margin: 0; }
figure svg { display: block; width: 100%; max-width: 25rem; height: auto; }
figcaption { font-size: .875rem; margin-bottom: .5rem; }
.scroll { overflow-x: auto; max-width: 100%; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .4rem; }
caption span { display: block; position: sticky; left: 0; max-width: calc(100vw - 2rem); width: fit-content; }
th, td { padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th[scope=row] { font-weight: 600; position: sticky; left: 0; background: var(--ground); }
td code { display: block; min-width: 16rem; overflow-wrap: anywhere; }
td.word { min-width: 7.5rem; max-width: 26rem; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.number small { display: block; color: var(--quiet); font-size: .8em; }
dt { font-weight: 600; margin-top: .7rem; }
dd { margin: .1rem 0 0; }
summary { cursor: pointer; padding: .35rem 0; color: var(--neutral); font-weight: 600; }
details pre { white-space: pre-wrap; background: var(--raised); padding: .6rem; border-radius: .25rem; margin: .3rem 0 .8rem; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--neutral); outline-offset: 2px; }
@media print {
  body { font-size: 10pt; }
  main, footer { max-width: none; padding: 0; }
  h2 { break-after: avoid; }
  figure, tr, li, .verdict { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  .verdict, .badge, .notice { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
`;
