/* dom: how every part of the page makes its elements.
 *
 * Text always goes in as a text node, never as markup, so nothing that a catalogue or a person wrote can become
 * part of the page. Numbers that style needs (the length of a bar) go through the CSSOM as custom properties: the
 * page's policy forbids style attributes, and rightly so. */

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
    for (const [name, value] of Object.entries(props || {})) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (name === "vars") for (const [k, v] of Object.entries(value)) node.style.setProperty("--" + k, v);
        else if (name === "data") Object.assign(node.dataset, value);
        else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
        else node.setAttribute(name, value === true ? "" : value);
    }
    put(node, ...children);
    return node;
}

/* Appends children: nodes, text, arrays of them; null and false are left out. */
export function put(node, ...children) {
    for (const child of children.flat(Infinity)) {
        if (child === null || child === undefined || child === false) continue;
        node.append(child instanceof Node ? child : String(child));
    }
    return node;
}

export function h(tag, props, ...children) {
    return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
    return fill(document.createElementNS(SVG, tag), props, children);
}

export function byId(id) {
    return document.getElementById(id);
}

export function replace(node, ...children) {
    node.replaceChildren();
    return put(node, ...children);
}

/* Says something to those who listen rather than look. The empty text first makes a repeated sentence heard again. */
export function announce(text) {
    const region = byId("announcer");
    region.textContent = "";
    setTimeout(() => {
        region.textContent = text;
    }, 60);
}

export function calmMotion() {
    return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/* A labelled bar from 0 to 1: the length is for the eye, the text says the same. */
export function bar(label, share, text, kind) {
    const clamped = Math.max(0, Math.min(1, share || 0));
    return h(
        "div",
        { class: "bar", data: { kind } },
        h("span", { class: "bar-label" }, label),
        h(
            "span",
            { class: "bar-track", "aria-hidden": "true" },
            h("span", { class: "bar-fill", vars: { share: clamped } }),
        ),
        h("span", { class: "bar-value" }, text),
    );
}
