// A phone on Node, by the WebSocket alone, that speaks all the time. The cloud and the token are in the environment.

import { PhoneClient } from "../../js/phone/src/index.js";

const FRAME = 480;
const { GLASSBRIDGE_CLOUD: cloud, GLASSBRIDGE_TOKEN: token } = process.env;
const onEvent = ({ type, text }) => type === "told" && console.error(text);
const phone = new PhoneClient({ cloud, token, onEvent });
await phone.start();
let spoken = 0;
const begun = phone.clock();
setInterval(() => {
  for (; spoken * FRAME < (phone.clock() - begun) * 16_000; spoken += 1) {
    phone.speak(Int16Array.from({ length: FRAME }, (_, i) => 8000 * Math.sin((spoken * FRAME + i) / 5)));
  }
}, 30);
process.on("SIGTERM", () => phone.close().then(() => process.exit()));
