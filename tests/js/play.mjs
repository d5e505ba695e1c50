// Plays to the JavaScript phone, in Node, the vectors that a test has written on standard input; prints what it decided.

import { decide } from "./decide.js";

let text = "";
for await (const piece of process.stdin) text += piece;
process.stdout.write(JSON.stringify(await decide(JSON.parse(text))));
