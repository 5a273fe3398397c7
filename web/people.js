/* people: the viewers that the page knows, and what they are called.
 *
 * A visitor whom nobody knows gets an id of their own, once a visit, so that a cold start can be watched becoming
 * warm. */
import { randomKey } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

const PREFIX = "visiteur-";

export const viewers = new Map(); /* id -> user */
export const stranger = PREFIX + randomKey().slice(0, 6);

export const isStranger = (id) => id.startsWith(PREFIX) && !viewers.has(id);

export function nameOf(id) {
    if (viewers.has(id)) return viewers.get(id).name || id;
    return isStranger(id) ? t("ask.stranger") : id;
}

/* Whether a viewer is a person or invented, in a word. */
export function badge(viewer) {
    if (!viewer) return h("span", { class: "badge", data: { kind: "unknown" } }, t("badge.unknown"));
    if (!viewer.simulated) return h("span", { class: "badge", data: { kind: "real" } }, t("badge.real"));
    return h("span", { class: "badge", data: { kind: "simulated" } }, "⚙ ", t("badge.simulated"));
}
