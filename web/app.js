/* app: puts the parts together and decides who is told what.
 *
 *     state.js     what is looked at, in the address     form.js      the question as controls
 *     titles.js    the ranked answer and acting on it    cards.js     one result
 *     braid.js     its little picture                    item.js      one title's record
 *     graph.js     its neighbourhood                     plan.js      how the answer was made
 *     viewer.js    who it is for                         curve.js     what is believed of a chance
 *     learning.js  what was learned, experiments         patterns.js  what many people do
 *     api.js       the server                            dom.js       making elements
 *     i18n.js, words.js  the two languages               notices.js   errors and remarks
 *
 * One rule: controls change the state, the state's change is told here, and from here goes to the parts that it
 * concerns. No part calls another one's redraw. */
import * as api from "./api.js";
import * as form from "./form.js";
import * as item from "./item.js";
import * as titles from "./titles.js";
import { byId, h, replace } from "./dom.js";
import { language, setLanguage, t, translate, number } from "./i18n.js";
import { QUESTION, begin as beginState, link, listen, set, state } from "./state.js";
import { showLearning } from "./learning.js";
import { showPlan } from "./plan.js";
import { showViewer } from "./viewer.js";
import { problem } from "./notices.js";

const VIEWS = ["titles", "plan", "viewer", "learning"];
const BEAT_MS = 15000;
const THEMES = { "": "light", light: "dark", dark: "" };

/* ---- header ---- */
function drawNav() {
    replace(
        byId("views"),
        VIEWS.map((v) =>
            h(
                "a",
                { href: link({ view: v, item: "" }), "aria-current": state.view === v ? "page" : null },
                t("nav." + v),
            ),
        ),
    );
}

function drawTheme() {
    const now = document.documentElement.dataset.theme || "";
    const button = byId("theme"),
        words = t("theme.label", { theme: t("theme." + (now || "auto")) });
    button.textContent = now === "light" ? "☀" : now === "dark" ? "☾" : "◐";
    button.setAttribute("aria-label", words);
    button.title = words;
}

function nextTheme() {
    const next = THEMES[document.documentElement.dataset.theme || ""];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    try {
        if (next) localStorage.setItem("braid.theme", next);
        else localStorage.removeItem("braid.theme");
    } catch {
        /* storage may be forbidden; it holds for this visit */
    }
    drawTheme();
}

let heard = null;
function drawHealth() {
    if (!heard) return;
    const kind = heard.alive ? "ok" : heard.detail ? "unready" : "bad";
    byId("health").dataset.state = heard.alive ? "ok" : "bad";
    byId("health").title = heard.detail || t("health.title");
    byId("health-text").textContent = t("health." + kind);
    byId("health-ms").textContent = heard.alive ? `${number(Math.max(1, heard.ms))} ms` : "";
}

function beginHeader() {
    byId("theme").addEventListener("click", nextTheme);
    byId("languages").addEventListener("click", (e) => {
        const next = e.target.dataset.lang;
        if (next && next !== language()) speak(next);
    });
    byId("skip").addEventListener("click", (e) => {
        e.preventDefault();
        byId("main").focus();
    });
    api.health.addEventListener("heard", (e) => {
        heard = e.detail;
        drawHealth();
    });
    setInterval(() => {
        if (!document.hidden) api.ready().catch(() => {});
    }, BEAT_MS);
}

/* ---- views ---- */
function drawOther() {
    const { answer, asked } = titles.lastAnswer();
    if (state.view === "plan") showPlan(byId("view-plan"), answer, asked, titles.ask);
    if (state.view === "viewer") showViewer(byId("view-viewer"));
    if (state.view === "learning") showLearning(byId("view-learning"));
}

function drawView() {
    for (const v of VIEWS) byId("view-" + v).hidden = state.view !== v;
    drawNav();
    drawOther();
}

function drawLanguage() {
    for (const b of byId("languages").querySelectorAll("button"))
        b.setAttribute("aria-pressed", String(b.dataset.lang === language()));
    drawTheme();
    drawHealth();
    form.fill();
    drawView();
}

/* The sentences why come from the server in the language asked for, so another language is another question. */
function speak(next) {
    setLanguage(next);
    drawLanguage();
    titles.ask();
    item.follow(new Set(["lang"]));
}

function follow(changed) {
    form.fill();
    drawView();
    if (QUESTION.some((k) => changed.has(k))) titles.ask();
    item.follow(changed);
}

async function begin() {
    beginState();
    beginHeader();
    form.begin(titles.ask);
    item.begin();
    translate(document);
    drawLanguage();
    titles.onEachAnswer(() => {
        drawNav();
        drawOther();
    });
    listen(follow);
    try {
        await form.loadViewers();
        /* An empty page would say nothing: whoever comes without an address sees an answer for the first viewer. */
        const first = byId("user").querySelector("optgroup option");
        if (!location.hash.slice(1) && first) set({ user: first.value }, true);
        else titles.ask();
    } catch (e) {
        replace(
            byId("view-titles"),
            problem(e, () => location.reload()),
        );
    }
    if (state.item) item.follow(new Set(["item"]));
    form.loadFacets().catch(() => {});
}

begin();
