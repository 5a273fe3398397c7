/* state: what the page is looking at, kept in the address so that a view can be sent to a colleague.
 *
 * The address after # holds what differs from the defaults, as a query string:
 * #user=ana&q=exil&view=plan&item=toni-1935. Everything that asks reads from here; everything that changes goes
 * through set(), which writes the address and tells the listeners what changed. */

export const DEFAULTS = Object.freeze({
    view: "titles",
    user: "",
    q: "",
    like: "",
    item: "",
    strategy: "auto",
    fusion: "weighted",
    diversity: "",
    k: "10",
    region: "",
    device: "",
    daypart: "",
    genre: "",
    decade: "",
    language: "",
    kind: "",
    filter: "",
    seen: "",
    draw: "1",
});

/* Fields that make up the question: a change of one of them is a new question. */
export const QUESTION = Object.freeze(Object.keys(DEFAULTS).filter((k) => k !== "view" && k !== "item"));

export const state = { ...DEFAULTS };
const listeners = new Set();

function toHash() {
    const out = new URLSearchParams();
    for (const [k, v] of Object.entries(DEFAULTS)) if (state[k] !== v) out.set(k, state[k]);
    return "#" + out.toString();
}

function fromHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    const next = {};
    for (const [k, v] of Object.entries(DEFAULTS)) next[k] = given.get(k) ?? v;
    if (!["titles", "plan", "viewer", "learning"].includes(next.view)) next.view = "titles";
    return next;
}

function apply(next) {
    const changed = new Set();
    for (const [k, v] of Object.entries(next)) {
        if (!(k in DEFAULTS) || state[k] === String(v)) continue;
        state[k] = String(v);
        changed.add(k);
    }
    return changed;
}

function tell(changed, forced) {
    if (changed.size || forced) for (const f of listeners) f(changed);
}

/* Changes fields. `quiet` replaces the address instead of adding a step to go back to. */
export function set(next, quiet) {
    const changed = apply(next);
    if (!changed.size) return false;
    history[quiet ? "replaceState" : "pushState"](null, "", toHash());
    tell(changed);
    return true;
}

export function link(next) {
    const out = new URLSearchParams();
    for (const [k, v] of Object.entries({ ...state, ...next })) if (DEFAULTS[k] !== v) out.set(k, v);
    return "#" + out.toString();
}

export function listen(f) {
    listeners.add(f);
}

export function begin() {
    apply(fromHash());
    addEventListener("popstate", () => tell(apply(fromHash())));
    addEventListener("hashchange", () => tell(apply(fromHash())));
}

/* ---- the question that the state spells ---- */

/* Presets and the raw filter as one filter; throws SyntaxError on broken JSON. */
export function filterOf(s) {
    const parts = [];
    if (s.genre) parts.push({ genres: s.genre });
    if (s.decade) parts.push({ year: { gte: Number(s.decade), lt: Number(s.decade) + 10 } });
    if (s.language) parts.push({ language: s.language });
    if (s.kind) parts.push({ kind: s.kind });
    if (s.filter.trim()) parts.push(JSON.parse(s.filter));
    return parts.length === 0 ? null : parts.length === 1 ? parts[0] : { all: parts };
}

export function contextOf(s) {
    const context = {};
    for (const k of ["region", "device", "daypart"]) if (s[k]) context[k] = s[k];
    return Object.keys(context).length ? context : null;
}

/* {path, body}, or null when there is neither a person nor a query. */
export function questionOf(s, lang) {
    const body = {};
    if (s.like) body.like = s.like;
    else if (s.q.trim()) body.text = s.q.trim();
    const search = Boolean(body.like || body.text);
    if (!search && !s.user) return null;
    if (s.user) body.user = s.user;
    body.k = Number(s.k) || 10;
    const filter = filterOf(s),
        context = contextOf(s);
    if (filter) body.filter = filter;
    if (context) body.context = context;
    if (s.strategy !== "auto") body.strategy = s.strategy;
    if (s.fusion !== "weighted") body.fusion = s.fusion;
    if (s.diversity !== "") body.diversity = Number(s.diversity);
    if (s.seen) body.include_seen = true;
    body.lang = lang;
    body.seed = Number(s.draw) || 1;
    return { path: search ? "/v1/search" : "/v1/recommend", body };
}
