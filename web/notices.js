/* notices: what went wrong, what is missing, what just happened, said in words.
 *
 * A refusal is shown with the page's own heading for its code and the server's detail below it, which names what,
 * where and how to mend. */
import { h, put } from "./dom.js";
import { t, has, said } from "./i18n.js";

export function problem(error, retry) {
    const known = has("error." + error.code);
    const heading = known ? t("error." + error.code) : t(error.status === undefined ? "error.page" : "error.other");
    const own = error.code && has(`error.${error.code}.detail`);
    const detail = own ? t(`error.${error.code}.detail`) : error.detail || error.title || error.message;
    const box = h(
        "div",
        { class: "problem", role: "alert" },
        h("h3", null, heading),
        detail && h("p", own ? null : { lang: "en" }, detail),
    );
    const facts = [error.status ? `HTTP ${error.status}` : null, error.code].filter(Boolean).join(" · ");
    put(
        box,
        h(
            "p",
            { class: "problem-foot" },
            facts && h("code", null, facts),
            error.store && ` · ${t("error.store", { store: error.store })}`,
        ),
    );
    if (retry) put(box, h("button", { type: "button", onclick: retry }, t("error.retry")));
    return box;
}

/* What an answer tells besides its titles: a cold start, missing stores, notes, too few titles. */
export function tellings(answer) {
    const out = [];
    if (answer.cold_start) out.push(h("p", { class: "banner info" }, t("tell.cold")));
    if (answer.degraded.length) {
        const stores = answer.degraded.map((s) => (has("store." + s) ? t("store." + s) : s)).join(", ");
        out.push(h("p", { class: "banner bad" }, t("tell.degraded", { stores })));
    }
    for (const note of answer.notes)
        if (!(answer.cold_start && /diverse, popular start$/.test(note)))
            out.push(h("p", { class: "banner" }, said(note)));
    const f = answer.filled;
    if (f && f.reason && f.returned < f.asked)
        out.push(
            h(
                "p",
                { class: "banner" },
                h("strong", null, t("list.short", { returned: f.returned, asked: f.asked })),
                ". ",
                said(f.reason),
            ),
        );
    return out;
}

export function loading(text) {
    return h(
        "div",
        { class: "loading" },
        h("span", { class: "weave", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
        h("p", null, text),
    );
}
