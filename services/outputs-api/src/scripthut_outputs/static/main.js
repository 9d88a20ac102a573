// What a page gains with JavaScript; it is complete without.
import { refresh } from "./refresh.js";
import { localise } from "./times.js";

const main = document.querySelector("main");
refresh(main);
localise(document);
setInterval(() => localise(document), 1000);
