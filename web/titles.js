/* titles: the ranked answer, and what changes in it when the viewer acts.
 *
 * A question names its draw of the policy (its seed), so that a link shows a colleague the same answer. After an
 * interaction the same question goes out again with the same seed and min_lsn = the write's token: what moves was
 * moved by the interaction and not by another draw. A newer question makes an older answer void. */
import * as api from "./api.js";
import { announce, byId, calmMotion, h, put, replace } from "./dom.js";
import { t, term, micros, language } from "./i18n.js";
import { state, set, link, questionOf, contextOf } from "./state.js";
import { card, movement } from "./cards.js";
import { setLikeTitle, filterTrouble } from "./form.js";
import { nameOf, viewers } from "./people.js";
import { loading, problem, tellings } from "./notices.js";

const place = byId("view-titles");
const EXAMPLES = ["exil et mémoire", "comédie à Montréal", "enfance au village", "film noir"];
/* The last answer of all pages: what was asked, what came, in order. */
const shown = { asked: null, answer: null, hits: [], pages: 0 };
let asking = null,
    onAnswer = () => {};
const titles = new Map();

export const lastAnswer = () => ({ answer: shown.answer, asked: shown.asked });

function heading() {
    if (state.like) return t("list.like", { what: titles.get(state.like) || state.like });
    if (state.q) return t("list.search", { what: state.q });
    return state.user ? t("list.recommend", { who: nameOf(state.user) }) : t("list.nobody");
}

function frame(...children) {
    return replace(
        place,
        h(
            "div",
            { class: "list-head" },
            h("h2", { id: "titles-heading" }, heading()),
            h("div", { id: "list-summary", class: "list-summary" }),
        ),
        children,
    );
}

const handlers = {
    get canAct() {
        return Boolean(state.user);
    },
    link: (id) => link({ item: id }),
    open: (e, id) => {
        if (!e.ctrlKey && !e.metaKey && !e.shiftKey) {
            e.preventDefault();
            set({ item: id });
        }
    },
    similar: (hit) => {
        titles.set(hit.id, hit.title);
        set({ like: hit.id, q: "" });
        scrollTo({ top: 0, behavior: calmMotion() ? "auto" : "smooth" });
    },
    act,
};

/* ---- drawing ---- */
function summary(answer) {
    replace(
        byId("list-summary"),
        h(
            "p",
            null,
            t("list.summary", {
                n: shown.hits.length,
                time: micros(answer.timing_us.total),
                strategy: term("strategy", answer.strategy),
            }),
            answer.cached && ` (${t("list.cached")})`,
        ),
        h(
            "p",
            { class: "list-links" },
            h("a", { href: link({ view: "plan" }) }, t("list.plan")),
            h(
                "button",
                {
                    type: "button",
                    class: "quiet",
                    id: "again",
                    title: t("list.again.title"),
                    onclick: () => set({ draw: Number(state.draw) + 1 }),
                },
                "↻ ",
                t("list.again"),
            ),
        ),
    );
}

function moreButton(answer) {
    if (shown.hits.length === 0) return null;
    if (answer.filled && answer.filled.returned < answer.filled.asked)
        return h("p", { class: "hint end" }, t("list.end"));
    return h("button", { type: "button", class: "more", id: "more", onclick: nextPage }, t("list.more"));
}

function render(moves, notice) {
    const { answer } = shown;
    frame(
        notice,
        tellings(answer),
        !state.user && h("p", { class: "hint" }, t("card.choose")),
        shown.hits.length
            ? h(
                  "ol",
                  { class: "cards", id: "cards", "aria-label": t("list.results") },
                  shown.hits.map((hit, i) => card(hit, i + 1, handlers, moves && moves.get(hit.id))),
              )
            : h("div", { class: "empty" }, h("h3", null, t("list.empty")), h("p", null, t("list.empty.detail"))),
        moreButton(answer),
    );
    summary(answer);
}

function welcome() {
    frame(
        h(
            "div",
            { class: "empty" },
            h("p", null, t("list.nobody.detail")),
            h(
                "ul",
                { class: "chips" },
                EXAMPLES.map((q) => h("li", null, h("a", { class: "chip", href: link({ q }) }, q))),
            ),
        ),
    );
}

function fail(error, retry) {
    if (error.name === "AbortError") return;
    frame(problem(error, retry));
    if (/^filter/.test(error.detail || "")) filterTrouble(error.detail);
}

/* ---- asking ---- */
function begin() {
    if (asking) asking.abort();
    asking = new AbortController();
    return asking.signal;
}

function compose() {
    try {
        return questionOf(state, language());
    } catch (e) {
        return { broken: e };
    }
}

async function learnLikeTitle(id) {
    if (!titles.has(id)) {
        try {
            titles.set(id, (await api.item(id)).title);
        } catch {
            /* the id stands in for the title */
        }
    }
    setLikeTitle(titles.get(id) || id);
    if (state.like === id && byId("titles-heading")) byId("titles-heading").textContent = heading();
}

/* Asks the state's question anew. */
export async function ask() {
    const question = compose();
    const signal = begin();
    if (state.like) learnLikeTitle(state.like);
    shown.answer = null;
    if (!question) {
        welcome();
        return onAnswer();
    }
    if (question.broken) {
        fail({ code: "INVALID", detail: t("ask.filter.bad", { why: question.broken.message }), status: 0 });
        return onAnswer();
    }
    frame(loading(t("list.loading")));
    const { path, body } = question;
    if (state.view === "plan") body.cache = false; /* whoever looks at the plan wants to see it made */
    try {
        const answer = await api.ask(path, body, signal);
        Object.assign(shown, { asked: { path, body }, answer, hits: answer.results, pages: 1 });
        render();
        announce(
            t("list.summary", {
                n: answer.results.length,
                time: micros(answer.timing_us.total),
                strategy: term("strategy", answer.strategy),
            }),
        );
    } catch (e) {
        fail(e, ask);
        if (e.name === "AbortError") return;
    }
    onAnswer();
}

async function nextPage() {
    const button = byId("more"),
        signal = begin();
    button.disabled = true;
    button.textContent = t("list.more.loading");
    const body = { ...shown.asked.body, after: shown.answer.recommendation_id };
    delete body.min_lsn;
    try {
        const answer = await api.ask(shown.asked.path, body, signal);
        const from = shown.hits.length;
        Object.assign(shown, {
            answer,
            hits: [...shown.hits, ...answer.results],
            pages: shown.pages + 1,
            asked: { path: shown.asked.path, body },
        });
        const list = byId("cards");
        put(
            list,
            answer.results.map((hit, i) => card(hit, from + i + 1, handlers)),
        );
        button.replaceWith(moreButton(answer) || "");
        summary(answer);
        announce(t("list.page", { n: shown.pages }));
        const first = list.children[from];
        if (first) first.querySelector(".card-title").focus();
        onAnswer();
    } catch (e) {
        if (e.name !== "AbortError") button.replaceWith(problem(e, ask));
    }
}

/* ---- acting ---- */
function interaction(type, hit) {
    const context = contextOf(state) || {},
        viewer = viewers.get(state.user);
    if (viewer && viewer.simulated) context.simulated = true; /* a made-up person's history stays marked as such */
    const out = { user: state.user, item: hit.id, type, recommendation_id: shown.answer.recommendation_id };
    if (Object.keys(context).length) out.context = context;
    return out;
}

function told(type, hit, change) {
    const moved = [...change.moves.values()].filter((m) => m.by !== 0).length,
        fresh = [...change.moves.values()].filter((m) => m.fresh).length;
    const gone = change.gone.map((id) => `« ${titles.get(id) || id} »`);
    const words =
        moved || fresh || gone.length ? t("did.moved", { moved, fresh, gone: gone.length }) : t("did.nothing");
    const notice = h(
        "div",
        { class: "banner did", id: "did" },
        h("p", null, h("strong", null, t("did." + type, { title: hit.title })), ". ", t("did.saved"), " ", words),
        gone.length > 0 && h("p", { class: "hint" }, t("did.gone", { titles: gone.join(", ") })),
    );
    announce(`${t("did." + type, { title: hit.title })}. ${words}`);
    return notice;
}

/* Slides each card from where it was to where it is. */
function slide(before) {
    if (calmMotion()) return;
    for (const node of place.querySelectorAll(".card")) {
        const was = before.get(node.dataset.id),
            now = node.getBoundingClientRect().top;
        if (was === undefined) node.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 350 });
        else if (Math.abs(was - now) > 1)
            node.animate([{ transform: `translateY(${was - now}px)` }, { transform: "none" }], {
                duration: 350,
                easing: "ease-out",
            });
    }
}

async function act(type, hit, button) {
    const signal = begin(),
        row = button.closest(".card"),
        index = [...row.parentNode.children].indexOf(row);
    for (const b of row.querySelectorAll(".act")) b.disabled = true;
    row.dataset.busy = "true";
    try {
        const report = await api.record(interaction(type, hit));
        if (report.rejected.length)
            throw new api.ApiError({ status: 422, code: report.rejected[0].code, detail: report.rejected[0].error });
        for (const x of shown.hits) titles.set(x.id, x.title);
        const before = shown.hits.map((x) => x.id);
        const places = new Map(
            [...place.querySelectorAll(".card")].map((n) => [n.dataset.id, n.getBoundingClientRect().top]),
        );
        const body = {
            ...shown.asked.body,
            k: Math.min(1000, before.length || shown.asked.body.k),
            min_lsn: report.lsn,
        };
        delete body.after;
        const answer = await api.ask(shown.asked.path, body, signal);
        Object.assign(shown, { answer, hits: answer.results, asked: { path: shown.asked.path, body } });
        const change = movement(
            before,
            answer.results.map((x) => x.id),
            hit.id,
        );
        render(change.moves, told(type, hit, change));
        slide(places);
        const next = place.querySelectorAll(".card")[Math.min(index, answer.results.length - 1)];
        if (next) next.querySelector(`[data-act="${type}"]`).focus({ preventScroll: true });
    } catch (e) {
        delete row.dataset.busy;
        for (const b of row.querySelectorAll(".act")) b.disabled = false;
        if (e.name !== "AbortError") row.append(problem(e));
    }
    onAnswer();
}

/* `answered` is called whenever there is another answer (or none). */
export function onEachAnswer(answered) {
    onAnswer = answered;
}
