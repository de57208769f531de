// FF1 of @noble/ciphers, as a peer of bench/peers: node noble.mjs

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { FF1 } from "@noble/ciphers/ff1.js";

const TOKENS = 100;

const itself = new URL("node_modules/@noble/ciphers/package.json", import.meta.url);
console.log(`${JSON.parse(readFileSync(itself, "utf8")).version}, Node.js ${process.versions.node}`);

// Nanoseconds of processor time. Where they can be had they are this thread's own: the engine's other threads
// are not counted, which is in the peer's favour. Before Node.js 23.9 only Linux tells, of the thread that a
// process began with. Elsewhere all threads count, which made 1 to 5 in a hundred more.
function ofFirstThread() {
  try {
    return Number(readFileSync("/proc/self/schedstat", "latin1").split(" ")[0]);
  } catch {
    return 0;
  }
}

function inNanoseconds({ user, system }) {
  return (user + system) * 1e3;
}

const spent = process.threadCpuUsage
  ? () => inNanoseconds(process.threadCpuUsage())
  : ofFirstThread() > 0
    ? ofFirstThread
    : () => inNanoseconds(process.cpuUsage());

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const line = async () => (await lines.next()).value;

const key = Uint8Array.from(Buffer.from(await line(), "hex"));
const characters = [...(await line())];
const warmUp = Number(await line()) * 1e3;
const count = Number(await line());
const values = [];
while (values.length < count) values.push(await line());

const ff1 = FF1(characters.length, key);
const numerals = [];
characters.forEach((character, numeral) => (numerals[character.charCodeAt(0)] = numeral));

function encrypt(value) {
  const digits = [];
  for (let i = 0; i < value.length; i++) digits.push(numerals[value.charCodeAt(i)]);
  let token = "";
  for (const digit of ff1.encrypt(digits)) token += characters[digit];
  return token;
}

let tokens;
function round() {
  const start = spent();
  tokens = values.map(encrypt);
  return (spent() - start) / values.length;
}

const until = performance.now() + warmUp;
do round();
while (performance.now() < until);
console.log(tokens.slice(0, TOKENS).join("\n"));
while ((await line()) !== undefined) console.log(round());
