/* api: all that is asked of the server, and the one kind of error that the page shows.
 *
 * A refusal is problem+json (RFC 9457) and becomes an ApiError with its code and detail; a server that cannot be
 * reached becomes one with the code OFFLINE. Whoever listens on `health` hears after each call whether the server
 * answered, so the connection light needs no luck. */

export class ApiError extends Error {
    constructor(problem) {
        super(problem.detail || problem.title || problem.code);
        this.status = problem.status || 0;
        this.code = problem.code || "UNKNOWN";
        this.title = problem.title || "";
        this.detail = problem.detail || "";
        this.store = problem.store || "";
    }
}

export const health = new EventTarget();

function tell(alive, ms, detail) {
    health.dispatchEvent(new CustomEvent("heard", { detail: { alive, ms, detail } }));
}

async function call(method, path, body, options = {}) {
    const begun = performance.now();
    const headers = { Accept: "application/json", ...options.headers };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
        response = await fetch(path, {
            method,
            headers,
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: options.signal,
        });
    } catch (e) {
        if (e.name === "AbortError") throw e;
        tell(false, 0, "");
        throw new ApiError({ code: "OFFLINE", status: 0, detail: "" });
    }
    const ms = performance.now() - begun;
    let data = null;
    try {
        data = await response.json();
    } catch (e) {
        if (e.name === "AbortError") throw e;
    }
    if (!response.ok) {
        tell(response.status !== 503, ms, data && data.detail);
        throw new ApiError({
            status: response.status,
            code: "HTTP_" + response.status,
            title: response.statusText,
            ...data,
        });
    }
    tell(true, ms, "");
    if (data === null) throw new ApiError({ status: response.status, code: "UNREADABLE", detail: path });
    return data;
}

/* Random text for an Idempotency-Key. crypto.randomUUID exists in secure contexts only; this page is also served by plain HTTP. */
export function randomKey() {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
}

const id = encodeURIComponent;

export const ready = () => call("GET", "/readyz");
export const info = () => call("GET", "/v1/info?section=server");
export const ask = (path, question, signal) => call("POST", path, question, { signal });
export const item = (name, signal) => call("GET", `/v1/items/${id(name)}`, undefined, { signal });
export const graph = (name, signal) => call("GET", `/v1/items/${id(name)}/graph`, undefined, { signal });
export const similar = (name, signal) =>
    call("GET", `/v1/items/${id(name)}/similar?k=8&depth=2`, undefined, { signal });
export const items = (limit) => call("GET", `/v1/items?limit=${limit}`);
export const user = (name) => call("GET", `/v1/users/${id(name)}`);
export const policy = (name) => call("GET", `/v1/users/${id(name)}/policy`);
export const learners = () => call("GET", "/v1/learners");
export const patterns = () => call("GET", "/v1/patterns?limit=400");
export const agents = () => call("GET", "/v1/agents");
export const experiments = () => call("GET", "/v1/experiments");
export const standing = (name) => call("GET", `/v1/experiments/${id(name)}/standing`);
export const history = (name) => call("GET", `/v1/users/${id(name)}/export`);

export function record(interaction) {
    return call("POST", "/v1/interactions", interaction, { headers: { "Idempotency-Key": randomKey() } });
}

/* Every viewer, page by page, up to `max`. */
export async function users(max) {
    const all = [];
    let after = "";
    for (;;) {
        const page = await call("GET", `/v1/users?limit=500${after ? "&after=" + id(after) : ""}`);
        all.push(...page.users);
        if (!page.next || all.length >= max) return { users: all.slice(0, max), more: Boolean(page.next) };
        after = page.next;
    }
}
