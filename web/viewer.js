/* viewer: who the answer is for: preferences, constraints, what the policy has learned, what was done last.
 *
 * It is read again each time it is shown and after each recorded interaction, so that a like can be watched moving
 * a posterior. That a viewer is simulated is said here again, in words. */
import * as api from "./api.js";
import { curve } from "./curve.js";
import { h, put, replace } from "./dom.js";
import { t, term, has, number, date, languageName, regionName, listed, compare } from "./i18n.js";
import { link, state } from "./state.js";
import { badge, isStranger } from "./people.js";
import { problem, loading } from "./notices.js";

const ACTIONS_SHOWN = 12,
    HISTORY_SHOWN = 15;
let turn = 0;

function row(key, value) {
    return value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length)
        ? null
        : [h("dt", null, t(key)), h("dd", null, value)];
}

/* ---- stated preferences: bars to the left (dislike) and right (like) of a middle ---- */
function leaning(value, weight) {
    return h(
        "li",
        { class: "lean", data: { sign: weight < 0 ? "minus" : "plus" } },
        h("span", { class: "measure-label" }, value),
        h(
            "span",
            { class: "lean-track", "aria-hidden": "true" },
            h("span", { class: "lean-fill", vars: { share: Math.min(1, Math.abs(weight)) } }),
        ),
        h(
            "span",
            { class: "measure-value" },
            (weight > 0 ? "+" : weight < 0 ? "\u2212" : "") + number(Math.abs(weight), 1),
        ),
    );
}

function preferences(user) {
    const fields = Object.entries(user.preferences || {}).filter(([, values]) => Object.keys(values).length);
    return h(
        "section",
        null,
        h("h3", null, t("viewer.preferences")),
        fields.length
            ? fields.map(([field, values]) => [
                  h("h4", null, term("field", field)),
                  h(
                      "ul",
                      { class: "leans" },
                      Object.entries(values)
                          .sort((a, b) => b[1] - a[1])
                          .map(([v, w]) =>
                              leaning(
                                  field === "kind" ? term("kind", v) : field === "language" ? languageName(v) : v,
                                  w,
                              ),
                          ),
                  ),
              ])
            : h("p", { class: "hint" }, t("viewer.nothing")),
    );
}

function constraints(user) {
    const c = user.constraints || {},
        s = user.state || {};
    const excluded = Object.entries(c.exclude || {}).map(([f, values]) => `${term("field", f)} : ${values.join(", ")}`);
    const rows = [
        row("viewer.region", c.region && regionName(c.region)),
        row("viewer.age", c.age !== undefined ? number(c.age) : null),
        row("viewer.tier", c.tier !== undefined ? number(c.tier) : null),
        row("viewer.languages", c.languages && c.languages.length ? listed(c.languages.map(languageName)) : null),
        row("viewer.exclude", excluded.join(" · ")),
        row(
            "viewer.block",
            c.block && c.block.length
                ? c.block.map((id, i) => [i ? ", " : "", h("a", { href: link({ item: id }) }, id)])
                : null,
        ),
    ].filter(Boolean);
    const now = [
        row("viewer.mood", s.mood),
        row("viewer.context", s.context),
        ...Object.entries(user.attributes || {}).map(([k, v]) => [
            h(
                "dt",
                null,
                has("ask." + k.replace(/s$/, "").replace("devices", "device")) ? t("ask." + k.replace(/s$/, "")) : k,
            ),
            h(
                "dd",
                null,
                String(v)
                    .split(",")
                    .map((w) => (has("device." + w) ? t("device." + w) : term("daypart", w)))
                    .join(", "),
            ),
        ]),
    ].filter(Boolean);
    return h(
        "section",
        null,
        h("h3", null, t("viewer.constraints")),
        rows.length ? h("dl", { class: "facts" }, rows) : h("p", { class: "hint" }, t("viewer.nothing")),
        now.length > 0 && [h("h3", null, t("viewer.state")), h("dl", { class: "facts" }, now)],
    );
}

/* ---- posteriors ---- */
function situation(text) {
    if (!text) return t("viewer.state.any");
    const words = text
        .split(";")
        .slice(1)
        .map((part) => part.split("="))
        .filter(([, v]) => v)
        .map(([k, v]) =>
            k === "daypart"
                ? term("daypart", v)
                : k === "device"
                  ? term("device", v)
                  : k === "region"
                    ? regionName(v)
                    : v,
        );
    return words.length ? words.join(" · ") : t("viewer.state.any");
}

function posterior(a) {
    const [field, value] = a.action.includes("=")
        ? [a.action.slice(0, a.action.indexOf("=")), a.action.slice(a.action.indexOf("=") + 1)]
        : ["", a.action];
    return h(
        "li",
        { class: "posterior" },
        h("span", { class: "measure-label", title: field && term("field", field) }, value),
        curve(a.mean, a.spread),
        h("span", { class: "measure-value", title: `\u00b1 ${number(a.spread, 2)}` }, number(a.mean, 2)),
        h("span", { class: "posterior-count" }, t("viewer.count", { n: a.count })),
    );
}

function group(policy) {
    const sorted = [...policy.actions].sort(
        (a, b) => b.count - a.count || b.mean - a.mean || compare(a.action, b.action),
    );
    const list = h("ul", { class: "posteriors" }, sorted.slice(0, ACTIONS_SHOWN).map(posterior));
    const rest = sorted.slice(ACTIONS_SHOWN);
    const all =
        rest.length > 0 &&
        h(
            "button",
            {
                type: "button",
                class: "quiet",
                onclick: (e) => {
                    put(list, rest.map(posterior));
                    e.currentTarget.remove();
                },
            },
            t("viewer.all", { n: sorted.length }),
        );
    return h(
        "details",
        { class: "situation", open: !policy.state },
        h(
            "summary",
            null,
            situation(policy.state),
            policy.agent !== "default" && h("span", { class: "hint" }, " ", t("viewer.agent", { agent: policy.agent })),
            h("span", { class: "count" }, number(sorted.length)),
        ),
        list,
        all,
    );
}

function learned(policy) {
    const groups = [...policy.policies].sort((a, b) => a.state.length - b.state.length || compare(a.state, b.state));
    return h(
        "section",
        { class: "learned" },
        h("h3", null, t("viewer.policy")),
        groups.length
            ? [h("p", { class: "hint" }, t("viewer.policy.hint")), groups.map(group)]
            : h("p", { class: "hint" }, t("viewer.policy.none")),
    );
}

function latest(data) {
    const rows = [...data.interactions]
        .sort((a, b) => Date.parse(b.at || 0) - Date.parse(a.at || 0))
        .slice(0, HISTORY_SHOWN);
    return h(
        "section",
        null,
        h("h3", null, t("viewer.history")),
        rows.length
            ? h(
                  "ol",
                  { class: "history" },
                  rows.map((r) =>
                      h(
                          "li",
                          null,
                          h("span", { class: "history-act" }, term("act", r.type)),
                          h("a", { href: link({ item: r.item }) }, r.item),
                          h(
                              "span",
                              { class: "hint" },
                              r.at ? date(r.at) : "",
                              r.context && r.context.simulated && ` · ${t("badge.simulated")}`,
                          ),
                      ),
                  ),
              )
            : h("p", { class: "hint" }, t("viewer.history.none")),
    );
}

export async function showViewer(place) {
    const mine = ++turn,
        id = state.user;
    if (!id || place.dataset.user !== id) {
        /* the same viewer read again stays on the screen meanwhile */
        replace(
            place,
            h("h2", { id: "viewer-heading" }, t("nav.viewer")),
            id ? loading(t("list.loading")) : h("p", { class: "hint" }, t("viewer.none")),
        );
        delete place.dataset.user;
    }
    if (!id) return place;
    const [user, policy, history] = await Promise.allSettled([api.user(id), api.policy(id), api.history(id)]);
    if (mine !== turn) return place;
    place.dataset.user = id;
    const unknown = [user, policy].every((r) => r.reason && r.reason.code === "NOT_FOUND");
    const who = user.value || { id };
    replace(
        place,
        h(
            "header",
            { class: "viewer-head" },
            h("h2", { id: "viewer-heading" }, who.name || (isStranger(id) ? t("ask.stranger") : id)),
            badge(user.value),
            h("code", null, id),
        ),
    );
    if (unknown) return put(place, h("p", { class: "banner info" }, t("viewer.stranger")));
    if (user.reason && user.reason.code !== "NOT_FOUND")
        return put(
            place,
            problem(user.reason, () => showViewer(place)),
        );
    return put(
        place,
        who.description && h("p", { class: "lead" }, who.description),
        who.simulated && h("p", { class: "banner" }, t("note.simulated")),
        h(
            "div",
            { class: "viewer-columns" },
            h("div", null, policy.value ? learned(policy.value) : problem(policy.reason)),
            h(
                "div",
                null,
                user.value && [preferences(user.value), constraints(user.value)],
                history.value && latest(history.value),
            ),
        ),
    );
}
