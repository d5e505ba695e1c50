// What a browser tells of its network, as hints for the phone.

/**
 * @param {import("../options.js").NetworkHints} hints
 * @returns {() => void} ends it
 */
export function watchNetwork({ changed, lost }) {
  const connection = /** @type {any} */ (navigator).connection;
  let known = connection?.type;
  // Browsers also tell of each new estimate of the same network.
  const estimated = () => {
    const former = known;
    known = connection.type;
    if (known !== former && known !== "none") changed();
  };
  addEventListener("online", changed);
  addEventListener("offline", lost);
  connection?.addEventListener("change", estimated);
  return () => {
    removeEventListener("online", changed);
    removeEventListener("offline", lost);
    connection?.removeEventListener("change", estimated);
  };
}
