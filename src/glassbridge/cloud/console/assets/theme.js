// Before anything is painted: the colours that the person chose, if they did.

const chosen = localStorage.getItem("glassbridge.theme");
if (chosen) document.documentElement.dataset.theme = chosen;
