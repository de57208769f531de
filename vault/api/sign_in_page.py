"""The page that registers and uses passkeys: a browser has to, and this is all that it needs for it.

Nothing of it comes from anywhere else or is made of what a caller sent: the regions are the configuration's.
The script is a file of its own, so the policy forbids every other one. The session stays in its memory.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

PAGE_PATH: Final = "/sign-in"
SCRIPT_PATH: Final = "/sign-in.js"
# CSP Level 3. Trusted Types, so that not even the script itself could make markup of a text.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"publickey-credentials-create=(self), publickey-credentials-get=(self)"),
    (b"referrer-policy", b"no-referrer"),
)


def page(regions: Iterable[str]) -> bytes:
    """The page."""
    options = "".join(f"<option>{html.escape(region)}</option>" for region in regions)
    return _PAGE.replace("{regions}", options).encode()


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Coatcheck: sign in</title><script src="/sign-in.js" defer></script></head>
<body>
<h1>Coatcheck</h1>
<p><label>Region <select id="region">{regions}</select></label></p>
<p><button id="use">Sign in with a passkey</button></p>
<form id="password-form" autocomplete="on">
<p><label>Name <input id="name" autocomplete="username" required></label></p>
<p><label>Password <input id="password" type="password" autocomplete="current-password" required></label></p>
<p><label>Code, if there is a second factor <input id="code" autocomplete="one-time-code"></label></p>
<p><button>Sign in with a password</button></p>
</form>
<section id="inside" hidden>
<p><label>Name of this passkey <input id="label" maxlength="80"></label></p>
<p><button id="register">Register a passkey</button> <button id="fresh">Prove it once more</button>
<button id="end">Sign out</button></p>
</section>
<p id="status" role="status"></p>
</body>
</html>
"""

SCRIPT: Final = b"""\
"use strict";

// Registers and uses passkeys (W3C Web Authentication Level 3). The session is in this variable alone.
let session = null;

const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };

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

function inside(found) {
  if (found.credential) session = found.credential;
  element("inside").hidden = false;
  say(`${found.name} is signed in until ${found.expires}` + (found.mfa ? `, by ${found.mfa}` : ""));
}

async function prove(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}

async function use() {
  const asked = await call("POST", "sessions/passkey/options", {});
  inside(await call("POST", "sessions/passkey", { answer: await prove(asked.options) }));
}

async function password() {
  const code = element("code").value.trim();
  const body = { name: element("name").value, password: element("password").value };
  if (code) body.code = code;
  element("password").value = element("code").value = "";
  inside(await call("POST", "sessions", body));
}

async function register() {
  const asked = await call("POST", "self/passkeys/options", {});
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.options);
  const made = await navigator.credentials.create({ publicKey });
  await call("POST", "self/passkeys", { answer: made.toJSON(), label: element("label").value });
  say("The passkey is registered.");
}

async function fresh() {
  const asked = await call("POST", "sessions/step-up/options", {});
  inside(await call("POST", "sessions/step-up", { answer: await prove(asked.options) }));
}

async function end() {
  await call("DELETE", "sessions/current");
  session = null;
  element("inside").hidden = true;
  say("Signed out.");
}

function on(id, event, act) {
  element(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    say("");
    try { await act(); } catch (problem) { say(String(problem.message || problem)); }
  });
}

on("use", "click", use);
on("password-form", "submit", password);
on("register", "click", register);
on("fresh", "click", fresh);
on("end", "click", end);
"""
