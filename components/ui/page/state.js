// What the server knows, kept up to date by its events; every tab holds the same.

import { api, attempt } from "./kit.js";

export const jobs = new Map();
export const lines = new Map(); // what was said of each job while this tab listened
export let schema = null;
export let models = [];
export let collections = [];
export let isConnected = true;
export let newestResult = 0;

const hidden = new Set(); // results that were deleted, in whichever tab
export const isHidden = (id) => hidden.has(id);

const listeners = new Set();
let isTelling = false;

/** Call `listener` after every change; gives a function that ends it. */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell() {
  if (isTelling) return;
  isTelling = true;
  setTimeout(() => {
    isTelling = false;
    for (const listener of listeners) listener();
  }, 30);
}

export const ENDED = new Set(["done", "failed", "cancelled"]);
export const isActive = (job) => ["running", "stopping"].includes(job.state);
export const makesPictures = (job) => ["generate", "interpolate", "enhance"].includes(job.kind);

/** Jobs, newest first. */
export const newestFirst = () => [...jobs.values()].sort((a, b) => b.id - a.id);
export const modelById = (id) => models.find((model) => model.id === id);
export const modelByDigest = (digest) => models.find((model) => model.digest === digest);

export async function load() {
  const status = await api("status");
  const newest = api("results?deleted=too&limit=1");
  [schema] = await Promise.all([api("settings/schema"), loadOffers(), loadJobs(), loadHidden()]);
  newestResult = (await newest).results[0]?.result.id ?? 0;
  follow(status.last_event);
}

/** Learn which results are deleted, here or in another tab, and tell that results changed. */
async function loadHidden() {
  const now = new Set(await api("results/deleted"));
  for (const id of [...hidden]) if (!now.has(id)) hidden.delete(id);
  for (const id of now) hidden.add(id);
  tellMarks();
}

/** Results were deleted or brought back here, and the server has said so. */
export function hide(ids, areGone) {
  for (const id of ids) areGone ? hidden.add(id) : hidden.delete(id);
  tellMarks();
}

/** Stars, boards or deletions have changed. */
export const tellMarks = () => document.dispatchEvent(new CustomEvent("results-changed"));

export async function loadOffers() {
  [models, collections] = await Promise.all([api("models"), api("collections")]);
  tell();
}

async function loadJobs() {
  const [newest, waiting] = await Promise.all([api("jobs?limit=100"), api(WAITING)]);
  for (const job of [...waiting, ...newest]) take(job);
  listedDownTo(newest);
}

// One that waits or is paused may be older than any that was listed.
let oldestListed = Infinity;
const listedDownTo = (page) => (oldestListed = Math.min(oldestListed, ...page.map(({ id }) => id)));

/** Older jobs than those known; how many there were. */
export async function loadOlderJobs() {
  const older = await api(`jobs?limit=100&before=${oldestListed}`);
  for (const job of older) take(job);
  listedDownTo(older);
  return older.length;
}

const WAITING = "jobs?state=waiting&state=running&state=stopping&state=paused&limit=500";

/** A job as the server tells it; an older answer takes away no picture that an event told of. */
export function take(job) {
  const known = jobs.get(job.id);
  if (known) {
    job.results = [...new Set([...known.results, ...job.results])].sort((a, b) => a - b);
    job.num_results = Math.max(known.num_results, job.num_results);
  }
  jobs.set(job.id, job);
  tell();
}

const changed = new Set();
let isFetching = false;

async function refetch() {
  if (isFetching) return;
  isFetching = true;
  await new Promise((go) => setTimeout(go, 60));
  const ids = [...changed];
  changed.clear();
  await attempt(async () => {
    const [some, waiting] = await Promise.all([
      Promise.all(ids.map((id) => api(`jobs/${id}`))),
      api(WAITING),
    ]);
    [...waiting, ...some].forEach(take);
    if (some.some((job) => ["train", "inspect"].includes(job.kind) && ENDED.has(job.state))) {
      await loadOffers();
    }
  });
  isFetching = false;
  if (changed.size) refetch();
}

const NEWS = {
  submitted: needsNews,
  state: needsNews,
  moved: needsNews,
  progress({ job, data }) {
    if (!jobs.has(job)) return;
    jobs.get(job).progress = data;
    tell();
  },
  kept({ job: id, data }) {
    const job = jobs.get(id);
    if (!job || job.results.includes(data.result)) return;
    job.results.push(data.result);
    job.num_results += 1;
    tell();
  },
  results({ newest, deleted, changes }) {
    newestResult = newest;
    if (deletions !== `${deleted} ${changes}`) attempt(loadHidden);
    deletions = `${deleted} ${changes}`;
    tell();
  },
  said: keepLine,
  warned: keepLine,
  connected() {
    if (!isConnected) attempt(() => Promise.all([loadJobs(), loadOffers(), loadHidden()]));
    isConnected = true;
    tell();
  },
  lost() {
    isConnected = false;
    tell();
  },
};
const KINDS = ["submitted", "state", "moved", "progress", "kept", "results", "said", "warned"];

let deletions = "";

function needsNews({ job }) {
  changed.add(job);
  refetch();
}

function keepLine({ job, data }, kind) {
  lines.set(job, [...(lines.get(job) ?? []), { kind, line: data.line }].slice(-50));
  tell();
}

let newestEvent = 0;
let early = []; // heard before this tab had loaded what they change

function hear(news) {
  if (early) return early.push(news);
  const { kind, event, number } = news;
  newestEvent = Math.max(newestEvent, number);
  NEWS[kind](event, kind);
}

// A browser opens six connections to a server and no more, so one tab listens and tells the others.
const SHARED = "atelier-events";
const otherTabs = new BroadcastChannel(SHARED);
otherTabs.onmessage = ({ data }) => hear(data);

/** Follow the events behind number `after`. */
function follow(after) {
  newestEvent = after;
  const heard = early;
  early = null;
  heard.forEach(hear);
  // Browsers have no locks for a page that came without encryption from another machine.
  if (!navigator.locks) return listen(hear);
  listenInTurn();
  // A tab in the background may be put to sleep, so the one that is looked at takes over.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !source) listenInTurn(true);
  });
}

let turn = null;

/** Listen while this tab has the lock: once the one that has it is closed, or now. */
function listenInTurn(isNow = false) {
  turn?.abort();
  const { signal } = (turn = new AbortController());
  const untilTaken = () => new Promise(() => listen(tellAllTabs));
  navigator.locks.request(SHARED, isNow ? { steal: true } : { signal }, untilTaken).catch(() => {
    if (signal.aborted) return; // in favour of a later turn
    source?.close();
    source = null;
    listenInTurn();
  });
}

function tellAllTabs(news) {
  otherTabs.postMessage(news);
  hear(news);
}

let source = null; // in the tab that listens

/** Share the events from the newest one on that this tab has heard of. */
function listen(share) {
  source?.close();
  const mine = (source = new EventSource(`/api/v1/events?after=${newestEvent}`));
  const shareEvent = ({ type, data, lastEventId }) =>
    share({ kind: type, event: JSON.parse(data), number: Number(lastEventId) });
  for (const kind of KINDS) mine.addEventListener(kind, shareEvent);
  const shareState = (kind) => share({ kind, number: newestEvent });
  mine.addEventListener("open", () => shareState("connected"));
  mine.addEventListener("error", () => {
    shareState("lost");
    // Refused outright, and a browser does not try again.
    const again = () => source === mine && listen(share);
    if (mine.readyState === EventSource.CLOSED) setTimeout(again, 2000);
  });
}
