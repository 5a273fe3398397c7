/* cards: one result as a card: what it is, how it scored, why, and what the viewer may do with it.
 *
 * A card never decides anything: its buttons call the handlers that it was given. Movement (up, down, new) is told
 * by an arrow, a number and words for screen readers; colour only repeats it. */
import { h, bar } from "./dom.js";
import { t, term, number, typeset, languageName } from "./i18n.js";
import { braid, STRANDS } from "./braid.js";

const ACTIONS = [
    ["complete", "✓"],
    ["like", "♥"],
    ["skip", "»"],
    ["dislike", "✕"],
];

/* Places of the titles before and after: {id: {by, fresh}}. What was acted on leaves the old order first, so that a title which only closed the gap has not
 * moved. */
export function movement(before, after, actedOn) {
    const old = new Map(before.filter((id) => id !== actedOn).map((id, i) => [id, i]));
    const moves = new Map();
    after.forEach((id, i) =>
        moves.set(id, old.has(id) ? { by: old.get(id) - i, fresh: false } : { by: 0, fresh: true }),
    );
    const here = new Set(after);
    const gone = before.filter((id) => id !== actedOn && !here.has(id));
    return { moves, gone };
}

function moved(move) {
    if (!move) return null;
    if (move.fresh) return h("span", { class: "move", data: { way: "new" } }, t("move.new"));
    if (move.by === 0)
        return h(
            "span",
            { class: "move", data: { way: "same" } },
            h("span", { "aria-hidden": "true" }, "="),
            h("span", { class: "unseen" }, t("move.same")),
        );
    const up = move.by > 0,
        n = Math.abs(move.by);
    return h(
        "span",
        { class: "move", data: { way: up ? "up" : "down" } },
        h("span", { "aria-hidden": "true" }, (up ? "▲ " : "▼ ") + n),
        h("span", { class: "unseen" }, t(up ? "move.up" : "move.down", { n })),
    );
}

function actions(hit, on) {
    const make = ([type, sign]) => {
        const words = t("card." + type);
        return h(
            "button",
            {
                type: "button",
                class: "act",
                data: { act: type },
                disabled: !on.canAct,
                "aria-label": t("card.act", { what: words, title: hit.title }),
                onclick: (e) => on.act(type, hit, e.currentTarget),
            },
            h("span", { class: "act-sign", "aria-hidden": "true" }, sign),
            words,
        );
    };
    return h(
        "div",
        { class: "actions" },
        ACTIONS.map(make),
        h(
            "button",
            {
                type: "button",
                class: "act plain",
                data: { act: "similar" },
                "aria-label": t("card.act", { what: t("card.similar"), title: hit.title }),
                onclick: () => on.similar(hit),
            },
            h("span", { class: "act-sign", "aria-hidden": "true" }, "≈"),
            t("card.similar"),
        ),
    );
}

export function card(hit, rank, on, move) {
    const meta = [hit.year, hit.kind && term("kind", hit.kind), hit.language && languageName(hit.language)]
        .filter(Boolean)
        .join(" · ");
    return h(
        "li",
        { class: "card", data: { id: hit.id } },
        h(
            "article",
            { "aria-labelledby": "t-" + hit.id },
            h(
                "div",
                { class: "card-rank" },
                h(
                    "span",
                    { class: "rank" },
                    h("span", { class: "unseen" }, t("card.rank", { n: rank })),
                    h("span", { "aria-hidden": "true" }, number(rank)),
                ),
                moved(move),
                braid(hit.strands),
            ),
            h(
                "div",
                { class: "card-body" },
                h(
                    "h3",
                    { id: "t-" + hit.id },
                    h(
                        "a",
                        { class: "card-title", href: on.link(hit.id), onclick: (e) => on.open(e, hit.id) },
                        hit.title,
                    ),
                ),
                h(
                    "p",
                    { class: "meta" },
                    meta,
                    hit.explored &&
                        h("span", { class: "mark", title: t("card.explored.title") }, "✦ ", t("card.explored")),
                ),
                hit.because.length > 0 &&
                    h(
                        "ul",
                        { class: "because", "aria-label": t("card.why") },
                        hit.because.map((s) => h("li", null, typeset(s))),
                    ),
            ),
            h(
                "div",
                { class: "card-scores" },
                h(
                    "p",
                    { class: "score" },
                    h("span", { class: "score-value" }, number(hit.score, 2)),
                    " ",
                    h("span", { class: "score-word" }, t("card.score")),
                ),
                h(
                    "div",
                    { class: "bars", role: "group", "aria-label": t("card.strands") },
                    STRANDS.map((s) => bar(t("strand." + s), hit.strands[s], number(hit.strands[s], 2), s)),
                ),
            ),
            actions(hit, on),
        ),
    );
}
