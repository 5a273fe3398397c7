/* form: the question, as controls. It writes the state and is written by it; it asks nothing itself.
 *
 * Menus answer at once, words when Enter or the button is pressed. The choices of the filters are read from the
 * catalogue that is there, not from a list that would be wrong for another one. */
import * as api from "./api.js";
import { byId, calmMotion, h, put, replace } from "./dom.js";
import { t, term, languageName, regionName, number, compare } from "./i18n.js";
import { DEFAULTS, state, set, filterOf } from "./state.js";
import { badge, isStranger, stranger, viewers } from "./people.js";

const NARROW = "(max-width: 60rem)"; /* where the answer stands below the form */
const VIEWERS_MAX = 5000,
    SAMPLE = 1000;
const FILTERS = ["genre", "decade", "language", "kind", "filter"],
    CONTEXT = ["region", "device", "daypart", "seen"],
    TUNING = ["fusion", "k", "diversity"];
const REGIONS = [
    "CA",
    "FR",
    "BE",
    "CH",
    "LU",
    "MC",
    "SN",
    "CI",
    "CM",
    "CD",
    "ML",
    "BF",
    "MG",
    "MA",
    "DZ",
    "TN",
    "HT",
    "VN",
    "LB",
    "US",
    "GB",
    "DE",
    "IT",
    "ES",
];
let facets = { genre: new Map(), decade: new Map(), language: new Map(), kind: new Map(), sampled: 0, more: false };
let likeTitle = "";

function options(select, rows, value) {
    const known = rows.some((r) => r[0] === value);
    replace(
        select,
        rows.map(([v, words]) => h("option", { value: v }, words)),
        !known && value && h("option", { value }, value),
    );
    select.value = value;
}

const any = () => ["", t("ask.any")];
const counted = (map, words) => [...map].map(([v, n]) => [v, `${words(v)} (${number(n)})`]);
const byWords = (rows) => rows.sort((a, b) => compare(a[1], b[1]));

function fillUsers() {
    const select = byId("user"),
        guest = isStranger(state.user) ? state.user : stranger;
    const people = [...viewers.values()].sort((a, b) => compare(a.name || a.id, b.name || b.id));
    replace(
        select,
        h("option", { value: "" }, t("ask.anyone")),
        h("option", { value: guest }, t("ask.stranger")),
        people.length > 0 &&
            h(
                "optgroup",
                { label: t("ask.viewers") },
                people.map((u) =>
                    h("option", { value: u.id }, (u.name || u.id) + (u.simulated ? ` (${t("badge.simulated")})` : "")),
                ),
            ),
        state.user &&
            !viewers.has(state.user) &&
            state.user !== guest &&
            h("option", { value: state.user }, state.user),
    );
    select.value = state.user;
}

function fillWho() {
    const place = byId("who"),
        viewer = viewers.get(state.user);
    replace(place);
    if (!state.user) return;
    put(
        place,
        h(
            "p",
            { class: "who-line" },
            badge(viewer),
            viewer &&
                viewer.constraints &&
                viewer.constraints.region &&
                h("span", { class: "hint" }, regionName(viewer.constraints.region)),
        ),
        viewer && viewer.description && h("p", { class: "who-text" }, viewer.description),
        viewer && viewer.simulated && h("p", { class: "hint" }, t("note.simulated")),
        !viewer && h("p", { class: "hint" }, t("viewer.stranger")),
    );
}

function fillMenus() {
    options(byId("genre"), [any(), ...byWords(counted(facets.genre, (v) => v))], state.genre);
    options(
        byId("decade"),
        [any(), ...counted(facets.decade, (v) => t("decade", { year: v })).sort((a, b) => b[0] - a[0])],
        state.decade,
    );
    options(byId("language"), [any(), ...byWords(counted(facets.language, languageName))], state.language);
    options(byId("kind"), [any(), ...byWords(counted(facets.kind, (v) => term("kind", v)))], state.kind);
    options(byId("region"), [any(), ...REGIONS.map((r) => [r, regionName(r)])], state.region);
    options(
        byId("device"),
        [any(), ...["tv", "mobile", "tablet", "desktop"].map((d) => [d, term("device", d)])],
        state.device,
    );
    options(
        byId("daypart"),
        [any(), ...["morning", "afternoon", "evening", "night"].map((d) => [d, term("daypart", d)])],
        state.daypart,
    );
    options(
        byId("strategy"),
        ["auto", "vector_only", "graph_only", "hybrid_parallel", "hybrid_sequential", "cached_only"].map((s) => [
            s,
            term("strategy", s),
        ]),
        state.strategy,
    );
    options(
        byId("fusion"),
        ["weighted", "rrf"].map((f) => [f, term("fusion", f)]),
        state.fusion,
    );
}

function fillCounts() {
    for (const [group, keys] of [
        ["filter", FILTERS],
        ["context", CONTEXT],
        ["tuning", TUNING],
    ]) {
        const n = keys.filter((k) => state[k] !== DEFAULTS[k]).length,
            place = byId(group + "-count");
        place.hidden = n === 0;
        place.textContent = number(n);
    }
}

function fillLike() {
    const place = byId("like-chip");
    replace(place);
    if (!state.like) return;
    const title = likeTitle || state.like;
    put(
        place,
        h(
            "button",
            {
                type: "button",
                class: "chip removable",
                "aria-label": t("ask.unlike", { title }),
                onclick: () => set({ like: "" }),
            },
            "≈ ",
            t("ask.like", { title }),
            " ✕",
        ),
    );
}

export function setLikeTitle(title) {
    likeTitle = title;
    fillLike();
}

/* Says under the field what is wrong with the raw filter; "" takes it back. */
export function filterTrouble(text) {
    const hint = byId("filter-hint"),
        area = byId("filter");
    hint.textContent = text || t("ask.filter.hint");
    hint.classList.toggle("bad", Boolean(text));
    if (text) area.setAttribute("aria-invalid", "true");
    else area.removeAttribute("aria-invalid");
    if (text) byId("group-filters").open = true;
}

function checkFilter() {
    try {
        filterOf(state);
        filterTrouble("");
    } catch (e) {
        filterTrouble(t("ask.filter.bad", { why: e.message }));
    }
}

/* Writes the state into the controls. */
export function fill() {
    fillUsers();
    fillWho();
    fillMenus();
    fillCounts();
    fillLike();
    for (const k of ["q", "filter", "k"]) if (byId(k).value !== state[k]) byId(k).value = state[k];
    byId("seen").checked = Boolean(state.seen);
    byId("diversity").value = state.diversity === "" ? (state.q || state.like ? 0 : 0.3) : state.diversity;
    showDiversity();
    byId("go").textContent = t(byId("q").value.trim() || state.like ? "ask.go" : "ask.recommend");
    checkFilter();
}

function showDiversity() {
    const value = number(Number(byId("diversity").value), 2);
    byId("diversity-value").textContent = state.diversity === "" ? `${value} (${t("ask.diversity.auto")})` : value;
}

function changed(e) {
    const { name, value, checked } = e.target;
    if (name === "q" || name === "filter" || !(name in DEFAULTS)) {
        if (name === "filter") set({ filter: value.trim() });
        return;
    }
    if (name === "k") {
        const k = Math.round(Number(value));
        e.target.value = Number.isFinite(k) ? Math.max(1, Math.min(1000, k)) : DEFAULTS.k;
        return set({ k: e.target.value });
    }
    return set({ [name]: name === "seen" ? (checked ? "1" : "") : value });
}

/* `again` is called when the question is sent although nothing in it has changed. */
export function begin(again) {
    const form = byId("ask");
    form.addEventListener("change", changed);
    form.addEventListener("submit", (e) => {
        e.preventDefault();
        const q = byId("q").value.trim();
        const moved = set({
            q,
            like: q ? "" : state.like,
            filter: byId("filter").value.trim(),
            view: state.view === "viewer" ? "titles" : state.view,
        });
        if (!moved) again();
        if (matchMedia(NARROW).matches) byId("main").scrollIntoView({ behavior: calmMotion() ? "auto" : "smooth" });
    });
    byId("q").addEventListener("input", () => {
        byId("go").textContent = t(byId("q").value.trim() || state.like ? "ask.go" : "ask.recommend");
    });
    byId("q").addEventListener("search", () => {
        if (!byId("q").value && state.q) set({ q: "" });
    }); /* the field's own cross */
    byId("diversity").addEventListener("input", (e) => {
        byId("diversity-value").textContent = number(Number(e.target.value), 2);
    });
    byId("reset").addEventListener("click", () => set({ ...DEFAULTS, user: state.user }));
    if (matchMedia(NARROW).matches)
        for (const id of ["group-filters", "group-context", "group-tuning"]) byId(id).open = false;
}

export async function loadViewers() {
    const { users } = await api.users(VIEWERS_MAX);
    for (const u of users) viewers.set(u.id, u);
    fillUsers();
    fillWho();
}

/* Reads a part of the catalogue once, for the menus. Failing is no harm: the menus stay short. */
export async function loadFacets() {
    const page = await api.items(SAMPLE);
    const next = { genre: new Map(), decade: new Map(), language: new Map(), kind: new Map() };
    const add = (map, v) => {
        if (v) map.set(String(v), (map.get(String(v)) || 0) + 1);
    };
    for (const it of page.items) {
        for (const g of it.genres || []) add(next.genre, g);
        add(next.decade, it.year && Math.floor(it.year / 10) * 10);
        add(next.language, it.language);
        add(next.kind, it.kind);
    }
    facets = next;
    fillMenus();
    if (page.next) put(byId("group-filters"), h("p", { class: "hint" }, t("ask.sampled", { n: page.items.length })));
}
