/* plan: how the last answer was made, for engineers: what was weighed, what ran, what was guessed and what it
 * cost.
 *
 * Estimate and actual stand as two bars on one scale, each with its number, so that a wrong guess is seen at once.
 * Nothing here asks the server: it shows the answer that the titles came from. */
import { h, put, replace } from "./dom.js";
import { t, term, said, micros, number, has } from "./i18n.js";
import { tellings } from "./notices.js";

function measure(share, text, kind, label) {
    return h(
        "div",
        { class: "measure", data: { kind } },
        h("span", { class: "measure-label" }, label),
        h(
            "span",
            { class: "bar-track", "aria-hidden": "true" },
            h("span", { class: "bar-fill", vars: { share: Math.max(0.004, Math.min(1, share || 0)) } }),
        ),
        h("span", { class: "measure-value" }, text),
    );
}

function tile(label, value, under) {
    return h(
        "div",
        { class: "tile" },
        h("dt", null, label),
        h("dd", null, value, under && h("span", { class: "tile-under" }, under)),
    );
}

function tiles(answer) {
    const p = answer.plan,
        ratio = p.actual_us && p.estimate_us ? p.actual_us / p.estimate_us : null;
    return h(
        "dl",
        { class: "tiles" },
        tile(t("plan.strategy"), term("strategy", answer.strategy), h("code", null, answer.strategy)),
        tile(t("plan.total"), micros(answer.timing_us.total), answer.cached && t("list.cached")),
        tile(
            t("plan.ratio"),
            ratio ? "× " + number(ratio, 2) : "–",
            p.actual_us ? `${micros(p.actual_us)} / ${micros(p.estimate_us)}` : null,
        ),
        tile(
            t("plan.candidates"),
            p.filter ? `${number(p.filter.left ?? p.filter.matches)} / ${number(p.filter.of)}` : "–",
            p.fetch ? `${t("plan.fetch").toLowerCase()} : ${number(p.fetch)}` : null,
        ),
    );
}

function strategies(plan) {
    const top = Math.max(1, ...plan.candidates.filter((c) => c.possible !== false).map((c) => c.estimate_us));
    return h(
        "ul",
        { class: "strategies" },
        plan.candidates.map((c) => {
            const possible = c.possible !== false;
            return h(
                "li",
                { data: { chosen: String(Boolean(c.chosen)), possible: String(possible) } },
                h(
                    "p",
                    { class: "strategy-name" },
                    h("strong", null, term("strategy", c.strategy)),
                    " ",
                    h("code", null, c.strategy),
                    c.chosen && h("span", { class: "mark solid" }, "✓ ", t("plan.chosen")),
                    !possible && h("span", { class: "mark" }, t("plan.impossible")),
                ),
                possible && measure(c.estimate_us / top, micros(c.estimate_us), "estimate", t("plan.estimate")),
                h("p", { class: "hint" }, said(c.why)),
            );
        }),
    );
}

function steps(plan) {
    const rows = plan.steps.map((s) => ({ ...s }));
    if (plan.actual_us !== undefined && plan.actual_us !== null)
        rows.push({ step: "gather", estimate_us: plan.estimate_us, actual_us: plan.actual_us, whole: true });
    const top = Math.max(1, ...rows.flatMap((s) => [s.estimate_us || 0, s.actual_us || 0]));
    return h(
        "ul",
        { class: "steps" },
        rows.map((s) =>
            h(
                "li",
                { data: { whole: String(Boolean(s.whole)) } },
                h(
                    "div",
                    { class: "step-name" },
                    h("strong", null, s.whole ? t("plan.whole") : term("step", s.step)),
                    s.method && h("span", { class: "hint" }, t("plan.method", { m: s.method })),
                ),
                h(
                    "div",
                    { class: "step-bars" },
                    measure(s.estimate_us / top, micros(s.estimate_us), "estimate", t("plan.estimate")),
                    measure((s.actual_us || 0) / top, micros(s.actual_us), "actual", t("plan.actual")),
                    s.rows !== undefined &&
                        h("p", { class: "hint" }, t("plan.rows", { est: s.estimate_rows, act: s.rows })),
                ),
            ),
        ),
    );
}

function funnel(filter) {
    if (!filter) return null;
    const rows = [
        ["plan.of", filter.of],
        ["plan.matches", filter.matches],
        ["plan.shown", filter.may_be_shown],
        ["plan.left", filter.left],
    ].filter(([, n]) => n !== undefined && n !== null);
    return h(
        "section",
        null,
        h("h3", null, t("plan.filter")),
        h(
            "div",
            { class: "funnel" },
            rows.map(([key, n]) => measure(filter.of ? n / filter.of : 0, number(n), "count", t(key))),
        ),
    );
}

const INSIDE = ["vector", "graph", "policy"]; /* parts of gathering; they may overlap */

function timing(times) {
    const rows = Object.entries(times).filter(([name]) => name !== "total");
    const rest = (times.total || 0) - rows.reduce((sum, [name, us]) => sum + (INSIDE.includes(name) ? 0 : us), 0);
    if (rest > 0) rows.push(["other", rest]);
    const top = Math.max(1, times.total || 0);
    return h(
        "section",
        null,
        h("h3", null, t("plan.timing")),
        h(
            "div",
            { class: "timing" },
            rows.map(([name, us]) =>
                h(
                    "div",
                    { class: INSIDE.includes(name) ? "inner" : null },
                    measure(us / top, micros(us), has("strand." + name) ? name : "time", term("step", name)),
                ),
            ),
        ),
    );
}

function more(plan) {
    const rows = [
        ["plan.near", plan.search_near && term("near", plan.search_near)],
        ["plan.seeds", plan.seeds !== undefined && number(plan.seeds)],
        ["plan.overlap", plan.overlap === undefined ? null : t(plan.overlap ? "yes" : "no")],
    ].filter(([, v]) => v);
    return rows.length
        ? h(
              "dl",
              { class: "facts" },
              rows.map(([k, v]) => [h("dt", null, t(k)), h("dd", null, v)]),
          )
        : null;
}

function raw(answer, asked) {
    const body = JSON.stringify(asked.body);
    const curl = `curl -s ${location.origin}${asked.path} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body.replace(/'/g, "'\\''")}'`;
    const block = (key, text) => [h("h4", null, t(key)), h("pre", { tabindex: "0", "aria-label": t(key) }, text)];
    return h(
        "details",
        { class: "raw" },
        h("summary", null, t("plan.raw")),
        block("plan.curl", curl),
        block("plan.question", JSON.stringify(asked.body, null, 2)),
        block("plan.answer", JSON.stringify(answer, null, 2)),
    );
}

/* An answer from the cache ran no step and weighed nothing: the page says so and offers to have it made again. */
function fromCache(place, answer, asked, remake) {
    return put(
        place,
        h(
            "div",
            { class: "banner info" },
            h("p", null, t("plan.cached")),
            h("p", null, h("button", { type: "button", id: "remake", onclick: remake }, t("plan.remake"))),
        ),
        tiles(answer),
        h("div", { class: "plan-columns" }, funnel(answer.plan.filter)),
        raw(answer, asked),
    );
}

export function showPlan(place, answer, asked, remake) {
    replace(place, h("h2", { id: "plan-heading" }, t("plan.title")));
    if (!answer) return put(place, h("p", { class: "hint" }, t("plan.none")));
    const p = answer.plan;
    if (answer.cached) return fromCache(place, answer, asked, remake);
    return put(
        place,
        h("p", { class: "lead" }, said(p.reason)),
        tellings(answer),
        tiles(answer),
        h(
            "div",
            { class: "plan-columns" },
            h("section", null, h("h3", null, t("plan.steps")), steps(p)),
            h("section", null, h("h3", null, t("plan.strategies")), strategies(p)),
            funnel(p.filter),
            timing(answer.timing_us),
        ),
        more(p),
        raw(answer, asked),
    );
}
