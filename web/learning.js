/* learning: what was learned lately, how experiments stand, how agents explore, and which patterns were found.
 *
 * Read anew each time it is shown. A difference between arms is drawn as an interval about nought, so that "not known yet"
 * looks like what it is: a bar across the middle. */
import * as api from "./api.js";
import { h, put, replace } from "./dom.js";
import { t, term, said, number, date } from "./i18n.js";
import { problem, loading } from "./notices.js";
import { patterns } from "./patterns.js";

let turn = 0;

function table(heads, rows) {
    return h(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": heads[0] },
        h(
            "table",
            { class: "figures" },
            h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))),
            h(
                "tbody",
                null,
                rows.map(([first, ...rest]) =>
                    h("tr", null, h("th", { scope: "row" }, first), rest.map((cell) => h("td", null, cell))),
                ),
            ),
        ),
    );
}

/* ---- models ---- */
function models(status) {
    const last = status.last;
    return h(
        "section",
        { class: "panel" },
        h("h3", null, t("learning.models")),
        last
            ? [
                  h(
                      "p",
                      { class: "hint" },
                      t("learning.from", {
                          interactions: last.interactions,
                          users: last.users,
                          items: last.items,
                          at: date(last.at),
                      }),
                  ),
                  table(
                      [t("learning.model"), t("learning.edges"), t("learning.seconds")],
                      last.models.map((m) => [term("model", m.model), number(m.edges), number(m.seconds, 2)]),
                  ),
              ]
            : h("p", { class: "hint" }, t("learning.none")),
        status.running && h("p", { class: "banner info" }, t("learning.running", { phase: status.phase || "" })),
        h("p", { class: "hint" }, t("learning.since", { n: status.new_interactions })),
    );
}

/* ---- experiments ---- */
const SCALE = 0.5; /* differences from here on reach the edge */
const place = (x) => Math.max(0, Math.min(1, 0.5 + x / (2 * SCALE)));

function difference(d) {
    if (!d || d.low === null || d.high === null) return null; /* not enough to say anything */
    const signed = (x) => (x > 0 ? "+" : x < 0 ? "\u2212" : "") + number(Math.abs(x), 3);
    return h(
        "span",
        { class: "difference" },
        h(
            "span",
            { class: "interval", "aria-hidden": "true" },
            h("span", { class: "interval-bar", vars: { from: place(d.low), to: place(d.high) } }),
            h("span", { class: "interval-at", vars: { at: place(d.value) } }),
        ),
        `${signed(d.value)} [${signed(d.low)} ; ${signed(d.high)}]`,
    );
}

function standing(s) {
    const duel = s.duel;
    return [
        s.arms &&
            table(
                [t("learning.arm"), t("learning.people"), t("learning.lists"), t("learning.reward"), t("learning.difference"), ""],
                s.arms.map((a) => [
                    a.arm,
                    number(a.people),
                    number(a.slates),
                    a.reward === null ? "–" : number(a.reward, 3),
                    difference(a.difference),
                    a.verdict ? said(a.verdict) : t("learning.base"),
                ]),
            ),
        duel && h("p", null, said(duel.verdict)),
        s.partial && h("p", { class: "hint" }, t("learning.partial")),
    ];
}

function experiment(x, how) {
    return h(
        "article",
        { class: "experiment", data: { id: x.id } },
        h("h4", null, x.id, " ", h("span", { class: "mark" }, term("experiment", x.status || "draft"))),
        how.value ? standing(how.value) : problem(how.reason),
    );
}

/* ---- agents ---- */
function agents(list) {
    return h(
        "section",
        { class: "panel" },
        h("h3", null, t("learning.agents")),
        list.length
            ? table(
                  [t("learning.agent"), t("learning.learner"), t("learning.budget")],
                  list.map((a) => [
                      a.id,
                      term("learner", a.learner),
                      a.exploration ? number(a.exploration.budget * 100, 0) + "\u00a0%" : "–",
                  ]),
              )
            : h("p", { class: "hint" }, t("learning.agents.none")),
    );
}

export async function showLearning(box) {
    const mine = ++turn;
    const heading = h("h2", { id: "learning-heading" }, t("nav.learning"));
    if (!box.firstChild) replace(box, heading, loading(t("list.loading")));
    const [status, tests, who, common] = await Promise.allSettled([
        api.learners(),
        api.experiments(),
        api.agents(),
        api.patterns(),
    ]);
    const found = tests.value ? tests.value.experiments : [];
    const how = await Promise.allSettled(found.map((x) => api.standing(x.id)));
    if (mine !== turn) return;
    replace(box, heading);
    put(
        box,
        h(
            "section",
            { class: "panel" },
            h("h3", null, t("learning.experiments")),
            tests.reason && problem(tests.reason),
            tests.value && !found.length && h("p", { class: "hint" }, t("learning.experiments.none")),
            found.map((x, i) => experiment(x, how[i])),
        ),
        h(
            "div",
            { class: "learning-columns" },
            status.value ? models(status.value) : problem(status.reason),
            who.value ? agents(who.value.agents) : problem(who.reason),
        ),
        common.value ? patterns(common.value) : problem(common.reason),
    );
}
