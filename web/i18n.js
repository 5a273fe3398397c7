/* i18n: French first, English by choice.
 *
 * words.js holds the sentences, key by key, in both languages; here is how they are picked, filled in and put on
 * the page. Names of languages, regions and numbers come from the browser (Intl), so that no list of countries
 * ages here. What the server says in English (a planner's reason) goes through said(): known sentences are
 * translated, others are shown as they came, marked lang="en" for screen readers. */
import { WORDS, SAID } from "./words.js";
import { h } from "./dom.js";

let lang = document.documentElement.lang === "en" ? "en" : "fr";

export const language = () => lang;

export function setLanguage(next) {
    lang = next === "en" ? "en" : "fr";
    document.documentElement.lang = lang;
    try {
        localStorage.setItem("braid.lang", lang);
    } catch {
        /* storage may be forbidden; it holds for this visit */
    }
    translate(document);
}

/* The sentence of a key; {name} is replaced from `values`. A number `n` in `values` picks KEY.one when it is one in this language. */
export function t(key, values) {
    let row = WORDS[key];
    if (
        values &&
        typeof values.n === "number" &&
        WORDS[key + ".one"] &&
        (lang === "fr" ? Math.abs(values.n) < 2 : values.n === 1)
    )
        row = WORDS[key + ".one"];
    if (!row) return key;
    return typeset(
        row[lang === "fr" ? 0 : 1].replace(/\{(\w+)\}/g, (_, name) => {
            const v = values ? values[name] : undefined;
            return v === undefined ? "" : typeof v === "number" ? number(v) : v;
        }),
    );
}

/* French keeps a space inside its guillemets and before : ; ? ! and never breaks a line there. */
export function typeset(text) {
    return lang === "fr" ? text.replace(/« /g, "«\u00a0").replace(/ ([»:;?!])/g, "\u00a0$1") : text;
}

export const has = (key) => key in WORDS;

/* A word from a closed list ("kind.film"), or the value itself when the list does not hold it. */
export const term = (list, value) => (has(`${list}.${value}`) ? t(`${list}.${value}`) : String(value));

/* Puts the words on everything below `root` that names a key. */
export function translate(root) {
    for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
    for (const node of root.querySelectorAll("[data-t-attr]"))
        for (const pair of node.dataset.tAttr.split(" ")) {
            const [name, key] = pair.split("=");
            node.setAttribute(name, t(key));
        }
    if (root === document) document.title = t("page.title");
}

/* ---- what the server says ---- */
export function said(text) {
    if (!text) return "";
    if (lang === "en") return text;
    for (const [pattern, french] of SAID) {
        const m = pattern.exec(text);
        if (m) return typeset(french.replace(/\$(\d)/g, (_, i) => m[Number(i)]));
    }
    return h("span", { lang: "en" }, text);
}

/* ---- numbers, times, names ---- */
const locale = () => (lang === "fr" ? "fr-CA" : "en-CA");
const cache = new Map();
function made(key, make) {
    const full = lang + key;
    if (!cache.has(full)) cache.set(full, make());
    return cache.get(full);
}

export function number(value, digits = 0) {
    return made(
        "n" + digits,
        () => new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits }),
    ).format(value);
}

/* Microseconds as people read them: 42 µs, 1,3 ms, 2,4 s. */
export function micros(us) {
    if (us === null || us === undefined || Number.isNaN(us)) return "–";
    if (us < 1000) return `${number(us, us < 10 ? 1 : 0)} µs`;
    if (us < 1e6) return `${number(us / 1000, us < 1e5 ? 1 : 0)} ms`;
    return `${number(us / 1e6, 1)} s`;
}

export function duration(seconds) {
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return `${minutes} min`;
    return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")}`;
}

export function date(text) {
    const at = new Date(text);
    if (Number.isNaN(at.getTime())) return String(text);
    return made("date", () => new Intl.DateTimeFormat(locale(), { dateStyle: "long", timeZone: "UTC" }))
        .format(at)
        .replace(/^1 /, lang === "fr" ? "1er " : "1 ");
}

/* 1..12 by its name. */
export function month(n) {
    return made("month", () => new Intl.DateTimeFormat(locale(), { month: "long", timeZone: "UTC" })).format(
        Date.UTC(2024, n - 1, 15),
    );
}

function display(type, code) {
    try {
        return made(type, () => new Intl.DisplayNames([locale()], { type })).of(code) || code;
    } catch {
        return code;
    }
}

export const languageName = (code) => display("language", code);
export const regionName = (code) => display("region", code);
export const compare = (a, b) => made("collator", () => new Intl.Collator(locale())).compare(a, b);

export function listed(values) {
    return made("list", () => new Intl.ListFormat(locale(), { type: "conjunction" })).format(values);
}
