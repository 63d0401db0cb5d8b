// The dashboard: shows the state and the request journal, and sends the requests of its buttons to the control API.
// Text that comes from a request or a name is inserted as text, never as markup.
"use strict";

const POLL_EVERY = 1000; // milliseconds
const ROWS = 300; // requests shown
const SNAPSHOTS = 12; // shown of one database

const FAULTS = {
  "503, nothing applied": { status: 503, code: "DATABASE_UNAVAILABLE" },
  "503, applied before": { status: 503, code: "DATABASE_UNAVAILABLE", when: "after" },
  "502, a proxy's page": { html: 502 },
  "no answer, nothing applied": { drop: true },
  "no answer, applied before": { drop: true, when: "after" },
  "429 KEEP_CALM": { status: 429, code: "KEEP_CALM" },
  "429 DAILY_SNAPSHOTS_LIMIT_REACHED": { status: 429, code: "DAILY_SNAPSHOTS_LIMIT_REACHED" },
  "429 RATE_LIMITED": { status: 429, code: "RATE_LIMITED" },
  "401 ACCESS_DENIED": { status: 401, code: "ACCESS_DENIED" },
  "403 MISSING_SCOPE": { status: 403, code: "MISSING_SCOPE" },
  "404 SNAPSHOT_FAILED": { status: 404, code: "SNAPSHOT_FAILED" },
  "an answer 60 s late": { delay: 60 },
  "JSON that stops in the middle": { truncated: true },
  "a redirect": { redirect: "https://elsewhere.example/" },
};

const at = (id) => document.getElementById(id);

/** An element with text and children; text stays text. */
function made(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  const { title, kind, text } = options;
  if (title) element.title = title;
  if (kind) element.className = kind;
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

async function ask(method, path, body) {
  const answer = await fetch(`/_emulator/${path}`, { method, body, cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message || `${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

const trouble = { poll: "", button: "" };

/** Shows an error: of a poll until one succeeds, of a button until the next press. */
function tell(source, error) {
  trouble[source] = error ? `${error instanceof TypeError ? "The emulator does not answer." : error.message}` : "";
  at("trouble").textContent = trouble.poll || trouble.button;
  at("trouble").hidden = !at("trouble").textContent;
}

const shown = new Map();

/** Replaces the children of an element, but only if their data has changed, so that a selection or focus stays. */
function show(id, data, make) {
  const now = JSON.stringify(data);
  if (shown.get(id) === now) return;
  shown.set(id, now);
  at(id).replaceChildren(...data.map(make));
}

/** A button that sends one control request. */
function button(text, method, path, body) {
  const element = made("button", { text });
  element.dataset.do = `${method} ${path}`;
  if (body !== undefined) element.dataset.body = JSON.stringify(body);
  return element;
}

document.addEventListener("click", async (event) => {
  const pressed = event.target.closest("[data-do]");
  if (!pressed) return;
  const [method, ...path] = pressed.dataset.do.split(" ");
  await send(method, path.join(" "), pressed.dataset.body);
});

async function send(method, path, body) {
  try {
    await ask(method, path, body);
    tell("button", null);
  } catch (error) {
    tell("button", error);
  }
  await poll();
}

// The state ---------------------------------------------------------------------------------------------------------

const moment = (text) => text.slice(0, 19).replace("T", " ");
const clock = (text) => text.slice(11, 19);
const short = (id) => id.slice(0, 8);
const bytes = (size) => (size === null ? "?" : size < 1000 ? `${size} bytes` : size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`);

function showState(state) {
  for (const each of form.elements.kind.length ? [] : [at("only"), form.elements.kind]) {
    each.append(...state.kinds.map((text) => made("option", { text })));
  }
  at("now").textContent = `${moment(state.now)} UTC`;
  const { speed, clock_offset_seconds: offset } = state.settings;
  at("speed").textContent = [speed !== 1 && `${speed}× as fast`, offset && `${offset} s from this machine's`].filter(Boolean).join(", ");
  at("blocked").hidden = !state.blocked_until;
  at("blocked").textContent = state.blocked_until ? `The account is blocked until ${clock(state.blocked_until)} UTC.` : "";
  at("quota").textContent = `Quota: ${state.quota.used} of ${state.quota.of} snapshots`;
  at("quota").className = state.quota.used < state.quota.of ? "quiet" : "bad";
  at("key").hidden = !state.key_revoked;
  at("variables").textContent = variables(state.public_key);
  show("faults", state.faults, fault);
  show("databases", state.databases, database);
}

/** What to type to use this service. A key of the user's own is not shown; the variable that holds it is. */
function variables(key) {
  return [
    `export SQUARECLOUD_API_URL=${location.origin}/v2`,
    `export SQUARECLOUD_SNAPSHOTS_URL=${location.origin}/files`,
    `export SQUARECLOUD_API_KEY=${key || '"$SQUARECLOUD_EMULATOR_API_KEY"'}`,
  ].join("\n");
}

async function copy() {
  const lines = at("variables");
  try {
    await navigator.clipboard.writeText(lines.textContent + "\n");
    at("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(lines);
    at("copied").textContent = "Selected: press Ctrl+C or Command+C.";
  }
}

function fault(rule) {
  const which = rule.kind || rule.method || "every request";
  const applied = rule.when === "after" ? ", applied before" : "";
  const times = rule.times === null ? "for ever" : rule.times ? `${rule.times} more` : "spent";
  return made("li", { kind: rule.times === 0 ? "quiet" : "", text: `${which}: ${effect(rule)}${applied}; ${times}` });
}

function effect(rule) {
  if (rule.status) return [rule.status, rule.code].filter(Boolean).join(" ");
  if (rule.html) return `${rule.html}, a proxy's page`;
  if (rule.drop) return "no answer";
  if (rule.truncated) return "JSON that stops in the middle";
  if (rule.redirect) return `a redirect to ${rule.redirect}`;
  return rule.delay ? `an answer ${rule.delay} s late` : rule.name;
}

function database(one) {
  const path = `databases/${encodeURIComponent(one.id)}`;
  const state = one.restoring ? "restoring" : one.up ? "up" : "down";
  const called = `${one.type}-${short(one.id)}`;
  const damage = one.next_snapshot_damage;
  const damaged = damage && (damage.kind || (damage.of_version ? "old" : "changed by SQL"));
  const planned = [
    one.next_snapshot_seconds !== null && `the next snapshot takes ${one.next_snapshot_seconds} s`,
    one.next_snapshot_fails && "the next snapshot fails",
    damaged && `the next snapshot is damaged: ${damaged}`,
    one.next_restore_error && `the next restore fails with ${one.next_restore_error}`,
    one.next_restore_leaves_down && "the next restore leaves the database down",
    one.next_restore_does_nothing && "the next restore reports success and changes nothing",
  ].filter(Boolean);
  const lines = [
    made("h3", {}, made("span", { text: `${called} ` }), made("small", { text: one.name === called ? "" : `${one.name} ` }), made("span", { text: state, kind: one.up ? "good" : "bad" })),
    made("div", { text: one.id, kind: "id quiet" }),
  ];
  lines.push(...planned.map((text) => made("div", { text, kind: "odd" })));
  /** A button that plans something for the next snapshot or restore, or undoes that. */
  const plan = (text, name, value) => one[name] || one[name] === 0
    ? button(`Undo: ${text}`, "PATCH", path, { [name]: typeof value === "boolean" ? false : null })
    : button(text[0].toUpperCase() + text.slice(1), "PATCH", path, { [name]: value });
  const damages = damage
    ? [button("Undo: damage the next snapshot", "PATCH", path, { next_snapshot_damage: null })]
    : ["truncated", "empty", "other engine"].map((kind) => button(`Next snapshot: ${kind}`, "PATCH", path, { next_snapshot_damage: { kind } }));
  lines.push(
    made("p", { kind: "tools" },
      one.running ? button("Stop database", "PATCH", path, { running: false }) : button("Start database", "PATCH", path, { running: true }),
      plan("let the next snapshot take 5 min", "next_snapshot_seconds", 300),
      plan("fail the next snapshot", "next_snapshot_fails", true),
      ...damages,
      plan("fail the next restore", "next_restore_error", "SNAPSHOT_CORRUPT"),
      plan("let the next restore change nothing", "next_restore_does_nothing", true),
      button("Add automatic snapshot", "POST", "snapshots", { database_id: one.id, origin: "automatic" }),
      button("Add manual snapshot", "POST", "snapshots", { database_id: one.id }),
    ),
  );
  const items = [
    ...(one.restoring ? [made("li", { kind: "mark" }, made("span", { kind: "id", text: `${clock(one.restore.started_at)}–${clock(one.restore.ends_at)} restore of ${one.restore.version_id}` }))] : []),
    ...one.running_snapshots.map((running) => made("li", { kind: "mark" }, made("span", { kind: "id", text: `${clock(running.started_at)}–${clock(running.ready_at)} under way ${running.version_id}` }))),
    ...one.snapshots.slice(0, SNAPSHOTS).map((stored) => made("li", {}, made("span", { kind: "id", text: `${moment(stored.modified)} ${stored.version_id}` }), made("small", { text: ` ${stored.origin || "?"}, ${bytes(stored.size)}${stored.listed ? "" : ", not listed"}` }))),
  ];
  if (one.snapshots.length > SNAPSHOTS) items.push(made("li", { kind: "quiet", text: `and ${one.snapshots.length - SNAPSHOTS} older` }));
  lines.push(items.length ? made("ul", {}, ...items) : made("p", { kind: "quiet", text: "no snapshot" }));
  return made("article", {}, ...lines);
}

// The journal -------------------------------------------------------------------------------------------------------

const requests = new Map(); // by number

function showRequests(entries, total) {
  // Fewer than before: the journal was cleared.
  if (total < requests.size) requests.clear();
  for (const entry of entries) requests.set(entry.number, entry);
  const only = at("only").value;
  const wanted = [...requests.values()].filter((entry) => !only || entry.kind === only).slice(-ROWS).reverse();
  show("requests", wanted, row);
  at("count").textContent = requests.size ? `${requests.size}` : "";
  at("no-requests").hidden = requests.size > 0;
}

function row(entry) {
  const { text, kind } = answer(entry);
  const more = [entry.fault && `fault: ${entry.fault}`, entry.key !== "right" && `key: ${entry.key}`, entry.accepted && entry.version_id && `started ${entry.version_id}`].filter(Boolean);
  return made("tr", {},
    made("td", { text: clock(entry.at), title: entry.at }),
    made("td", { title: entry.path }, made("div", { text: entry.kind }), made("small", { text: `${entry.method} ${entry.path.replace(/[0-9a-f]{32}/g, (id) => `${short(id)}…`)}` })),
    made("td", {}, made("span", { text, kind }), made("div", { text: more.join(", "), kind: "quiet" })),
    made("td", { kind: "wide", text: entry.answered_at ? `${((new Date(entry.answered_at) - new Date(entry.at)) / 1000).toFixed(1)} s` : "" }),
  );
}

function answer(entry) {
  if (entry.status === null) return entry.answered_at ? { text: "connection closed", kind: "bad" } : { text: "held open", kind: "mark" };
  const text = [entry.status, entry.code].filter(Boolean).join(" ");
  return { text, kind: entry.status === 202 || entry.status === 429 ? "odd" : entry.status < 400 ? "good" : "bad" };
}

/** The last request before the first one that is still held open; later ones may have changed. */
function known() {
  let last = 0;
  for (const entry of requests.values()) {
    if (entry.status === null && !entry.answered_at) break;
    last = entry.number;
  }
  return last;
}

// Polling -----------------------------------------------------------------------------------------------------------

let polling = null;

/** Polls once. A call during a poll waits for it, and then polls again. */
async function poll() {
  while (polling) await polling;
  polling = (async () => {
    const state = await ask("GET", "state");
    if (state.requests < requests.size) requests.clear();
    showRequests(await ask("GET", `journal?after=${known()}`), state.requests);
    showState(state);
    tell("poll", null);
  })().catch((error) => tell("poll", error)).finally(() => { polling = null; });
  await polling;
}

async function keepPolling() {
  if (!document.hidden) await poll();
  setTimeout(keepPolling, POLL_EVERY);
}

const form = at("fault");
form.elements.effect.append(...Object.keys(FAULTS).map((text) => made("option", { text })));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { effect, kind, times } = form.elements;
  const rule = { ...FAULTS[effect.value], kind: kind.value, times: times.value ? Number(times.value) : null };
  send("POST", "faults", JSON.stringify(rule));
});
at("only").addEventListener("change", poll);
at("copy").addEventListener("click", copy);
keepPolling();
