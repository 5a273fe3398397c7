/* patterns: what many people do more often than chance has it.
 *
 * Each is said as a sentence, and drawn: how many times as often, on a scale of doublings that begins at "as often as
 * everybody", with a bar down to the bound that it is above with 19 chances in 20. A long bar is a guess, a short one
 * is known. Figures are in words beside it, so the drawing is for the eye alone. */
import { h } from "./dom.js";
import { t, has, term, number, date, month } from "./i18n.js";

const KINDS = ["genre_affinity", "user_preference", "seasonal_trend", "mood_correlation"];
const DOUBLINGS = 4; /* sixteen times as often, and more, reach the edge */
const SHOWN = 6; /* of a kind; the rest is behind one click */

const place = (times) => Math.max(0, Math.min(1, Math.log2(times) / DOUBLINGS));
const times = (x) => `×\u00a0${number(x, 2)}`;

/* "genres=western" as people say it. */
function facet(text) {
    const at = text.indexOf("=");
    const key = "facet." + text.slice(0, at);
    return has(key) ? t(key, { value: text.slice(at + 1) }) : text;
}

function sentence(p) {
    return t("pattern.says." + p.kind, {
        facet: facet(p.facet),
        with: p.with ? facet(p.with) : "",
        month: p.month ? month(p.month) : "",
        mood: p.mood || "",
        people: p.people,
    });
}

function lift(p) {
    return h(
        "p",
        { class: "lift" },
        h(
            "span",
            { class: "lift-scale", "aria-hidden": "true" },
            h("span", { class: "interval-bar", vars: { from: place(p.low), to: place(p.lift) } }),
            h("span", { class: "interval-at", vars: { at: place(p.lift) } }),
        ),
        h("span", null, h("strong", null, times(p.lift)), " ", t("pattern.low", { low: times(p.low) })),
    );
}

function pattern(p) {
    const confidence = number(p.confidence * 100, 0);
    return h(
        "li",
        { class: "pattern", data: { kind: p.kind, facet: p.facet } },
        h("p", { class: "pattern-says" }, sentence(p)),
        lift(p),
        h(
            "p",
            { class: "pattern-facts" },
            h(
                "span",
                { class: "pattern-confidence" },
                h("span", { class: "meter", "aria-hidden": "true", vars: { part: p.confidence } }),
                t("pattern.confidence", { percent: confidence }),
            ),
            h("span", null, t("pattern.evidence", { likings: p.evidence, people: p.people })),
            p.years > 0 && h("span", null, t("pattern.years", { n: p.years })),
            h("span", null, t("pattern.until", { from: date(p.valid_from), until: date(p.valid_until) })),
        ),
    );
}

function ofKind(kind, all) {
    const list = all.filter((p) => p.kind === kind);
    if (!list.length) return null;
    const rest = list.slice(SHOWN);
    return [
        h("h4", null, term("pattern", kind), " ", h("span", { class: "mark" }, number(list.length))),
        h("ul", { class: "patterns" }, list.slice(0, SHOWN).map(pattern)),
        rest.length > 0 &&
            h(
                "details",
                { class: "patterns-rest" },
                h("summary", null, t("pattern.more", { n: rest.length })),
                h("ul", { class: "patterns" }, rest.map(pattern)),
            ),
    ];
}

/* `answer` is GET /v1/patterns. */
export function patterns(answer) {
    const { learned, patterns: list } = answer;
    return h(
        "section",
        { class: "panel", id: "patterns" },
        h("h3", null, t("learning.patterns")),
        learned
            ? h(
                  "p",
                  { class: "hint" },
                  t("learning.patterns.from", {
                      likings: learned.likings,
                      people: learned.people,
                      at: date(learned.at),
                  }),
                  " ",
                  t("learning.patterns.lean"),
              )
            : h("p", { class: "hint" }, t("learning.patterns.none")),
        learned && !list.length && h("p", { class: "hint" }, t("learning.patterns.nothing")),
        KINDS.map((kind) => ofKind(kind, list)),
    );
}
