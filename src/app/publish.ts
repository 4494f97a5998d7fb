/** `runoff publish`: what would be sent, and on request sending it. Nothing else in runoff sends anything. */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { homedir, hostname, tmpdir, userInfo } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { deriveRecord } from '../core/derive/derive-record.ts';
import { AppError } from '../core/errors.ts';
import type { Manifest, RunEvent } from '../core/record.ts';
import { judgeLicence } from '../models/hub/licences.ts';
import { NETWORK_LIMITS } from '../models/hub/limits.ts';
import { hubSettings } from '../models/hub/settings.ts';
import { isRepoName } from '../models/hub/spec.ts';
import { uploadFiles, type Uploaded, type UploadFile } from '../models/hub/upload.ts';
import { isRun, readRun, writeRun } from '../store/run-folder.ts';
import { datasetCard, modelCard } from './publish-cards.ts';
import { describeModel, LICENCE_FILE } from './publish-model.ts';
import { render, writeReports } from './report.ts';
import { scrubRecord, type PrivateFacts } from './scrub-record.ts';
import type { Ui } from './ui.ts';

export interface PublishAsk {
  /** A .gguf file, a model's folder, or a run's. */
  readonly path: string;
  /** OWNER/NAME */
  readonly to: string;
  readonly licence: string | null;
  readonly source: string | null;
  readonly command: string | null;
  /** A run whose tables go into a model's card. */
  readonly run: string | null;
  readonly isPrivate: boolean;
  readonly replaceCard: boolean;
  /** False: only shows. */
  readonly send: boolean;
  readonly runoffVersion: string;
  readonly signal: AbortSignal;
  readonly ui: Ui;
}

export interface PublishPlan {
  readonly endpoint: string;
  readonly type: 'model' | 'dataset';
  readonly repo: string;
  readonly isPrivate: boolean;
  readonly title: string;
  readonly files: readonly PlannedFile[];
  /** What the licence asks for. */
  readonly conditions: readonly string[];
  readonly licence: string | null;
}

export interface PlannedFile extends UploadFile {
  readonly sizeBytes: number;
}

export interface Published {
  readonly plan: PublishPlan;
  /** Null: it was only shown. */
  readonly sent: Uploaded | null;
}

/** @throws AppError `usage`, `publish-refused`, and as `uploadFiles` and `describeModel` do */
export async function publish(ask: PublishAsk): Promise<Published> {
  if (!isRepoName(ask.to) || !ask.to.includes('/')) {
    throw new AppError('usage', `--to ${ask.to.slice(0, 200)}: that is not OWNER/NAME`, {
      hint: 'For example --to my-name/my-model.',
    });
  }
  const settings = await hubSettings();
  if (ask.send && settings.offlineBecause !== null)
    throw new AppError('usage', `${settings.offlineBecause} forbids the network, so nothing can be sent`, {
      hint: 'Unset it.',
    });
  const scratch = await mkdtemp(join(tmpdir(), 'runoff-publish-'));
  try {
    const plan = await makePublishPlan(ask, scratch, settings.endpoint);
    if (!ask.send) return { plan, sent: null };
    const { repo, type, isPrivate, title, files } = plan;
    const sent = await uploadFiles({
      hub: { settings, limits: NETWORK_LIMITS },
      upload: { repo, type, isPrivate, title, files },
      signal: ask.signal,
      onProgress: (text) => ask.ui.status(text),
    });
    return { plan, sent };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function makePublishPlan(ask: PublishAsk, scratch: string, endpoint: string): Promise<PublishPlan> {
  const common = { endpoint, repo: ask.to, isPrivate: ask.isPrivate };
  if (isRun(ask.path)) return { ...common, ...(await planRun(ask, scratch)) };
  const run = ask.run === null ? null : await scrubbedRun(ask.run);
  const model = await describeModel(ask.path, { ...ask, measured: run?.manifest.models ?? null });
  const speed =
    run === null ? null : await render(deriveRecord(run.manifest, run.events), run.events, 'markdown', PLAIN);
  const card = modelCard({ ...model, repo: ask.to, runoffVersion: ask.runoffVersion, speed });
  return {
    ...common,
    type: 'model',
    title: `Add ${model.name}`,
    licence: model.licence.id,
    conditions: model.licence.conditions,
    files: [
      ...model.files.map(({ path, file, sizeBytes }) => ({ path, content: { file }, sizeBytes, keepExisting: false })),
      planText('README.md', card, !ask.replaceCard),
    ],
  };
}

const PLAIN = { color: false, width: 100 } as const;

function planText(path: string, text: string, keepExisting: boolean): PlannedFile {
  return { path, content: { text }, sizeBytes: Buffer.byteLength(text), keepExisting };
}

async function planRun(
  ask: PublishAsk,
  scratch: string,
): Promise<Pick<PublishPlan, 'type' | 'title' | 'licence' | 'conditions' | 'files'>> {
  if (ask.run !== null || ask.source !== null || ask.command !== null)
    throw new AppError('usage', `${ask.path} is a run: --run, --source and --command are for models`);
  const licence = judgeLicence(ask.licence);
  if (licence.state === 'refused') throw new AppError('publish-refused', `--licence ${licence.id}: ${licence.reason}`);
  const { manifest, events } = await scrubbedRun(ask.path);
  const folder = join(scratch, 'run');
  await writeRun(folder, manifest, events);
  await writeReports(folder, deriveRecord(manifest, events), events);
  const name = basename(resolve(ask.path)).replaceAll(/[^\w.-]/g, '-');
  const files: PlannedFile[] = [];
  for (const file of (await readdir(folder)).toSorted()) {
    const path = `runs/${name}/${file === 'report.md' ? 'README.md' : file}`;
    const full = join(folder, file);
    files.push({ path, content: { file: full }, sizeBytes: (await stat(full)).size, keepExisting: false });
  }
  const card = planText('README.md', datasetCard(licence.id), !ask.replaceCard);
  return {
    type: 'dataset',
    title: `Add the run ${name}`,
    licence: licence.id,
    conditions: [],
    files: [...files, card],
  };
}

/** @throws AppError `publish-refused` when a name of this machine would be left in it */
async function scrubbedRun(folder: string): Promise<{ manifest: Manifest; events: readonly RunEvent[] }> {
  const { manifest, events } = await readRun(folder);
  const { leftovers, ...scrubbed } = scrubRecord(manifest, events, privateFacts());
  if (leftovers.length === 0) return scrubbed;
  throw new AppError('publish-refused', `the record would still name ${leftovers.join(', ')} of this machine`, {
    hint: 'Nothing was sent. Please report it with the name of the field in manifest.json or samples.jsonl.',
  });
}

function privateFacts(): PrivateFacts {
  return { homeFolder: homedir(), userName: userNameOf(), hostNames: [hostname()] };
}

/** A user without an entry in the system's list has none. */
function userNameOf(): string {
  try {
    return userInfo().username;
  } catch {
    return '';
  }
}

const NO_LICENCE_FILE = 'Note: no LICENSE file lies beside the model; put it there, and it goes along.';

/** Pure: what the dry run shows. */
export function describePublishPlan(plan: PublishPlan): string {
  const { endpoint, type, repo, isPrivate, files, licence, conditions } = plan;
  const lines = [
    `To the ${isPrivate ? 'private' : 'public'} ${type} repository ${repo} at ${endpoint}, made if it is not there:`,
    ...files.map(
      ({ path, sizeBytes, keepExisting }) =>
        `${sizeText(sizeBytes).padStart(12)}  ${path}${keepExisting ? '  (if there is none yet)' : ''}`,
    ),
    `Licence: ${licence ?? 'none said'}`,
    ...conditions.map((condition) => `  - ${condition}`),
    ...(conditions.length > 0 && !files.some(({ path }) => LICENCE_FILE.test(path)) ? [NO_LICENCE_FILE] : []),
    'One commit; nothing else is sent, and the token goes to this address only.',
    ...files.flatMap(({ path, content }) => ('text' in content ? ['', `--- ${path} ---`, content.text.trimEnd()] : [])),
  ];
  return lines.join('\n');
}

function sizeText(bytes: number): string {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  return bytes >= 1e3 ? `${(bytes / 1e3).toFixed(1)} kB` : `${bytes} bytes`;
}
