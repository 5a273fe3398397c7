/* item: the record of one title in a dialog: facts, synopsis, rights, neighbourhood, what is near.
 *
 * The address names the item, so the browser's back button walks the way back through the graph. The dialog is the
 * browser's own: it keeps the focus inside, closes on Escape and gives the focus back. The three requests run at
 * once and each part shows its own failure. */
import * as api from "./api.js";
import { byId, h, put, replace } from "./dom.js";
import { t, term, duration, date, languageName, regionName, listed, number } from "./i18n.js";
import { state, set, link } from "./state.js";
import { draw, FIELD_OF } from "./graph.js";
import { problem, loading } from "./notices.js";

const dialog = byId("item");
let asking = null,
    walked = 0,
    wide = null;

const filterLink = (field, value) => link({ item: "", view: "titles", filter: JSON.stringify({ [field]: value }) });
const on = {
    link: (n) => (n.kind === "item" ? link({ item: n.id }) : filterLink(FIELD_OF[n.kind] || "themes", n.label)),
};

function row(key, value) {
    const empty = value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length);
    return empty ? null : [h("dt", null, t(key)), h("dd", null, value)];
}

function chips(field, values) {
    if (!values || !values.length) return null;
    return h(
        "ul",
        { class: "chips" },
        values.map((v) =>
            h(
                "li",
                null,
                h("a", { class: "chip", href: filterLink(field, v), title: t("item.filter", { what: v }) }, v),
            ),
        ),
    );
}

function people(list) {
    const roles = new Map();
    for (const p of list || []) {
        const { name, role = "" } = typeof p === "string" ? { name: p } : p;
        roles.set(role, [...(roles.get(role) || []), name]);
    }
    if (!roles.size) return null;
    return h(
        "section",
        null,
        h("h3", null, t("item.people")),
        h(
            "dl",
            { class: "facts" },
            [...roles].map(([role, names]) => [
                h("dt", null, role ? term("role", role) : "–"),
                h(
                    "dd",
                    null,
                    names.map((n, i) => [
                        i ? ", " : "",
                        h(
                            "a",
                            { class: "soft", href: filterLink("people", n), title: t("item.filter", { what: n }) },
                            n,
                        ),
                    ]),
                ),
            ]),
        ),
    );
}

/* The same rule as the server's, for the reader's eye only: a window that is open, a region that is in the list. */
function verdicts(it) {
    const now = Date.now();
    const open =
        (!it.available_from || Date.parse(it.available_from) <= now) &&
        (!it.available_until || now < Date.parse(it.available_until));
    const out = [h("li", { data: { ok: String(open) } }, t(open ? "item.now.yes" : "item.now.no"))];
    if (state.region) {
        const ok = !it.regions || !it.regions.length || it.regions.includes(state.region);
        out.push(
            h(
                "li",
                { data: { ok: String(ok) } },
                t(ok ? "item.region.yes" : "item.region.no", { region: regionName(state.region) }),
            ),
        );
    }
    return h("ul", { class: "verdicts" }, out);
}

function rights(it) {
    const window = [
        it.available_from && t("item.from", { from: date(it.available_from) }),
        it.available_until && t("item.until", { until: date(it.available_until) }),
    ]
        .filter(Boolean)
        .join(" ");
    return h(
        "section",
        null,
        h("h3", null, t("item.rights")),
        verdicts(it),
        h(
            "dl",
            { class: "facts" },
            row(
                "item.regions",
                it.regions && it.regions.length ? listed(it.regions.map(regionName)) : t("item.everywhere"),
            ),
            row("item.window", window || t("item.always")),
            row("item.age", it.age_rating ? t("item.age.from", { n: it.age_rating }) : t("item.age.all")),
            row("item.tier", number(it.tier || 0)),
        ),
    );
}

function facts(it) {
    const attributes = Object.entries(it.attributes || {})
        .map(([k, v]) => `${k} : ${typeof v === "object" ? JSON.stringify(v) : v}`)
        .join(" · ");
    return h(
        "section",
        null,
        h("h3", null, t("item.facts")),
        h(
            "dl",
            { class: "facts" },
            row("item.original", it.original_title !== it.title ? it.original_title : null),
            row("item.language", it.language && languageName(it.language)),
            row("item.countries", it.countries && it.countries.length ? listed(it.countries.map(regionName)) : null),
            row("item.genres", chips("genres", it.genres)),
            row("item.themes", chips("themes", it.themes)),
            row("item.moods", chips("moods", it.moods)),
            row("item.contexts", chips("contexts", it.contexts)),
            row("item.attributes", attributes),
            row("item.id", h("code", null, it.id)),
        ),
    );
}

function head(title, meta) {
    return h(
        "header",
        { class: "item-head" },
        h("div", null, h("h2", { id: "item-title", tabindex: "-1" }, title), meta && h("p", { class: "meta" }, meta)),
        h(
            "div",
            { class: "item-tools" },
            walked > 0 &&
                h("button", { type: "button", class: "quiet", onclick: () => history.back() }, "← ", t("item.back")),
            h(
                "button",
                {
                    type: "button",
                    class: "icon-button",
                    id: "item-close",
                    "aria-label": t("item.close"),
                    onclick: close,
                },
                "✕",
            ),
        ),
    );
}

function near(results) {
    return h(
        "section",
        { class: "near" },
        h("h3", null, t("item.similar")),
        h(
            "ol",
            null,
            results.map((r) =>
                h(
                    "li",
                    null,
                    h("a", { href: link({ item: r.id }) }, r.title),
                    " ",
                    h(
                        "span",
                        { class: "meta" },
                        `${number(r.score, 2)} · ${t("item.connections", { n: r.connections })}`,
                        r.via && r.via.label && ` · ${t("item.via", { via: term("type", r.via.label) })}`,
                    ),
                ),
            ),
        ),
    );
}

function neighbourhood(data, title) {
    const section = h(
        "section",
        { class: "neighbourhood" },
        h("h3", null, t("item.graph")),
        h("p", { class: "hint" }, t("item.graph.hint")),
    );
    const place = h("div");
    put(section, place);
    wide = () => replace(place, draw(data, title, Math.max(300, Math.floor(section.clientWidth) || 600), on));
    return section;
}

function show(it, graph, similar, id) {
    const meta = [it.year, it.kind && term("kind", it.kind), it.duration_s && duration(it.duration_s)]
        .filter(Boolean)
        .join(" · ");
    const body = h("div", { class: "item-body" });
    replace(dialog, head(it.title, meta), body);
    put(
        body,
        h(
            "div",
            { class: "item-lead" },
            it.synopsis && h("p", { class: "synopsis" }, it.synopsis),
            h(
                "p",
                null,
                h(
                    "button",
                    {
                        type: "button",
                        class: "act",
                        onclick: () => set({ item: "", like: it.id, q: "", view: "titles" }),
                    },
                    "≈ ",
                    t("card.similar"),
                ),
            ),
        ),
    );
    put(
        body,
        h("div", { class: "item-columns" }, h("div", null, facts(it)), h("div", null, people(it.people), rights(it))),
    );
    wide = null;
    put(body, graph.value ? neighbourhood(graph.value, it.title) : problem(graph.reason));
    if (wide) wide();
    put(
        body,
        similar.value ? (similar.value.results.length ? near(similar.value.results) : null) : problem(similar.reason),
    );
    dialog.scrollTop = 0;
    dialog.dataset.item = id;
}

async function load(id) {
    if (asking) asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    delete dialog.dataset.item;
    if (!dialog.open) {
        replace(dialog, head("…", ""), loading(t("item.loading")));
        dialog.showModal();
    }
    const [it, graph, similar] = await Promise.allSettled([
        api.item(id, signal),
        api.graph(id, signal),
        api.similar(id, signal),
    ]);
    if (signal.aborted) return;
    if (it.value) show(it.value, graph, similar, id);
    else
        replace(
            dialog,
            head(id, ""),
            h(
                "div",
                { class: "item-body" },
                problem(it.reason, () => load(id)),
            ),
        );
    byId("item-title").focus();
}

function close() {
    set({ item: "" });
}

/* Follows the state: an item opens the dialog, none closes it. */
export function follow(changed) {
    if (changed.has("item") && state.item) {
        walked = dialog.open ? walked + 1 : 0;
        load(state.item);
    } else if (!state.item && dialog.open) {
        if (asking) asking.abort();
        dialog.close();
    } else if (changed.has("lang") && state.item) load(state.item);
}

export function begin() {
    dialog.addEventListener("cancel", (e) => {
        e.preventDefault();
        close();
    });
    dialog.addEventListener("close", () => {
        if (state.item) close();
    });
    dialog.addEventListener("click", (e) => {
        if (e.target === dialog) close();
    }); /* the backdrop */
    let last = innerWidth;
    addEventListener("resize", () => {
        if (dialog.open && wide && innerWidth !== last) wide();
        last = innerWidth;
    });
}
