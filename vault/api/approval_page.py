"""The page where somebody approves or denies what was asked, or reviews a broken glass.

What it is about stands behind the `#` of its address, which no browser sends: the page is the same for
everybody, and made of nothing that a caller sent. The session is in the script's memory alone, and goes with
the page; no cookie is set, so no other page can ask for anything with it. What is shown is set as text. It
has the sign-in page's headers, which forbid every other script and all markup of texts.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

PAGE_PATH: Final = "/approve"
SCRIPT_PATH: Final = "/approve.js"


def page(regions: Iterable[str]) -> bytes:
    """The page."""
    options = "".join(f"<option>{html.escape(region)}</option>" for region in regions)
    return _PAGE.replace("{regions}", options).encode()


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Coatcheck: approve</title><script src="/approve.js" defer></script></head>
<body>
<h1>Coatcheck: approve</h1>
<form id="which">
<p><label>Region <select id="region">{regions}</select></label>
<label>Id <input id="about" maxlength="32" spellcheck="false" required></label> <button>Look</button></p>
</form>
<section id="outside">
<p><button id="use">Sign in with a passkey</button></p>
<form id="password-form" autocomplete="on">
<p><label>Name <input id="name" autocomplete="username" required></label></p>
<p><label>Password <input id="password" type="password" autocomplete="current-password" required></label></p>
<p><label>Code <input id="code" autocomplete="one-time-code" required></label></p>
<p><button>Sign in with a password</button></p>
</form>
</section>
<section id="asked" hidden>
<h2>What is asked</h2>
<table><tbody id="facts"></tbody></table>
<table id="shown" hidden><caption>What a mask shows of the values</caption>
<thead><tr><th>field</th><th>mask</th><th>shown</th></tr></thead><tbody id="preview"></tbody></table>
<form id="decision" hidden>
<p><label>Reason <input id="reason" maxlength="500"></label></p>
<p><button id="approve" type="button">Approve</button> <button id="deny" type="button">Deny</button></p>
</form>
<form id="review" hidden>
<p><label>Note <input id="note" maxlength="500"></label></p>
<p><button id="justified" type="button">Justified</button>
<button id="unjustified" type="button">Not justified</button></p>
</form>
</section>
<section id="inside" hidden>
<form id="step-up">
<p><button id="fresh" type="button">Prove a passkey once more</button>
<label>or a code <input id="again" autocomplete="one-time-code"></label> <button>Prove a code</button></p>
</form>
<p><button id="end">Sign out</button></p>
</section>
<p id="status" role="status"></p>
</body>
</html>
"""

SCRIPT: Final = b"""\
"use strict";

// The session is in this variable alone; what is asked, as it was last shown, in the other.
let session = null;
let asked = null;

const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };
const about = () => encodeURIComponent(element("about").value.trim());

async function call(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (session !== null) headers.Authorization = `Bearer ${session}`;
  const region = encodeURIComponent(element("region").value);
  const answer = await fetch(`/v1/${region}/${path}`, {
    method, headers, credentials: "omit", cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(`${found.code}: ${found.title}`);
  return found;
}

function row(into, cells) {
  const made = element(into).insertRow();
  for (const text of cells) made.insertCell().textContent = text;
}

function clear() {
  asked = null;
  for (const id of ["facts", "preview"]) element(id).replaceChildren();
  for (const id of ["asked", "shown", "decision", "review"]) element(id).hidden = true;
}

function facts(found, names) {
  for (const name of names) {
    const value = found[name];
    if (value === undefined || value === null) continue;
    row("facts", [name.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : String(value)]);
  }
  element("asked").hidden = false;
}

async function look() {
  clear();
  if (session === null) return;
  const id = element("about").value.trim();
  if (id.startsWith("gr_")) {
    const grant = await call("GET", `grants/${about()}`);
    facts(grant, ["id", "state", "agent", "purpose", "uses", "uses_left", "created_by", "valid_until"]);
    element("review").hidden = false;
    return;
  }
  const found = await call("GET", `approvals/${about()}`);
  asked = found;
  facts(found, ["id", "state", "grant", "agent", "on_behalf_of", "purpose", "operation", "delivery", "fields",
    "count", "needed", "have", "created_at", "expires_at", "digest"]);
  for (const vote of found.votes ?? []) {
    row("facts", [vote.verdict, `${vote.by} at ${vote.at}, by ${vote.mfa}`]);
  }
  for (const item of found.preview ?? []) {
    row("preview", [item.field, item.mask ?? "", item.shown ?? item.code ?? ""]);
    element("shown").hidden = false;
  }
  element("decision").hidden = !found.yours;
  say(found.yours ? `Waiting for you until ${found.expires_at}` : `This is ${found.state}`);
}

async function inside(found) {
  if (found.credential) session = found.credential;
  element("outside").hidden = true;
  element("inside").hidden = false;
  say(`${found.name} is signed in` + (found.mfa ? `, by ${found.mfa}` : ", without a second factor"));
  if (element("about").value) await look();
}

async function prove(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}

async function use() {
  const asked = await call("POST", "sessions/passkey/options", {});
  await inside(await call("POST", "sessions/passkey", { answer: await prove(asked.options) }));
}

async function password() {
  const body = { name: element("name").value, password: element("password").value };
  const code = element("code").value.trim();
  if (code) body.code = code;
  element("password").value = element("code").value = "";
  await inside(await call("POST", "sessions", body));
}

async function fresh() {
  const asked = await call("POST", "sessions/step-up/options", {});
  await inside(await call("POST", "sessions/step-up", { answer: await prove(asked.options) }));
}

async function again() {
  const code = element("again").value.trim();
  element("again").value = "";
  await inside(await call("POST", "sessions/step-up", { code }));
}

async function decide(verdict) {
  const body = { digest: asked.digest };
  if (element("reason").value) body.reason = element("reason").value;
  const found = await call("POST", `approvals/${about()}/${verdict}`, body);
  element("reason").value = "";
  await look();
  say(`Recorded: this is ${found.state}, ${found.have} of ${found.needed}`);
}

async function review(verdict) {
  const body = { verdict };
  if (element("note").value) body.note = element("note").value;
  const found = await call("POST", `break-glass/${about()}/review`, body);
  element("note").value = "";
  element("review").hidden = true;
  say(`Recorded: ${found.verdict}`);
}

async function end() {
  await call("DELETE", "sessions/current");
  session = null;
  clear();
  element("inside").hidden = true;
  element("outside").hidden = false;
  say("Signed out.");
}

function on(id, event, act) {
  element(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    say("");
    try { await act(); } catch (problem) { say(String(problem.message || problem)); }
  });
}

// The address is read, and nothing but a region that is offered and the form of an id is taken of it.
function named() {
  const found = /^#([^/]+)\\/((?:apr|gr)_[0-9A-Z]{26})$/.exec(location.hash);
  if (found === null) return;
  const region = decodeURIComponent(found[1]);
  if ([...element("region").options].some((one) => one.value === region)) element("region").value = region;
  element("about").value = found[2];
}

named();
window.addEventListener("hashchange", () => { named(); clear(); });
on("which", "submit", look);
on("use", "click", use);
on("password-form", "submit", password);
on("step-up", "submit", again);
on("fresh", "click", fresh);
on("approve", "click", () => decide("approve"));
on("deny", "click", () => decide("deny"));
on("justified", "click", () => review("justified"));
on("unjustified", "click", () => review("unjustified"));
on("end", "click", end);
"""
