/** One file that needs nothing: no network, no script, no font. Opens from disk, from a mail, years later. */
import type { RunRecord, Sample } from '../core/record.ts';
import { shippingView } from './facts.ts';
import type { ReportOptions } from './formats.ts';
import { certificate, definitions, environment, gates, latency, method, settings } from './html/evidence.ts';
import { ladder } from './html/ladder.ts';
import { machine } from './html/machine.ts';
import { html, trusted } from './html/markup.ts';
import { charts, notMeasured, pairs, results, verdict, warnings } from './html/results.ts';
import { shipping } from './html/shipping.ts';
import { STYLES } from './html/styles.ts';
import { ladderView } from './ladder.ts';
import { latencyRows } from './latency.ts';
import { machineView } from './machine.ts';
import { buildView } from './view.ts';

/** Nothing may be loaded and nothing may run, even if something got past the escaping. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

export function renderHtml(
  record: RunRecord,
  samples: readonly Sample[] = [],
  { acceptedBlocks }: Pick<ReportOptions, 'acceptedBlocks'> = {},
): string {
  const view = buildView(record);
  const { manifest } = view.record;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${view.record.verdict.headline}</title>
<style>${trusted(STYLES)}</style>
</head>
<body>
<main>
${verdict(view)}${ladder(ladderView(view))}${charts(view)}${results(view)}${pairs(view)}${latency(latencyRows(view.record, samples, acceptedBlocks))}${machine(machineView(view.record))}${shipping(shippingView(view))}${warnings(view)}${notMeasured(view)}${certificate(view)}${gates(view)}${settings(view)}${method(view)}${definitions()}${environment(view)}</main>
<footer class="quiet"><p>Made by runoff ${manifest.runoffVersion} from run ${manifest.runId}. This file loads nothing and runs nothing.</p></footer>
</body>
</html>
`.text;
}
