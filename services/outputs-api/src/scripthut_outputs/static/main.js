// What a page gains with JavaScript; it is complete without.
import { start as startPreviews } from "./preview.js";
import { refresh } from "./refresh.js";
import { localise } from "./times.js";

const main = document.querySelector("main");
refresh(main, startPreviews);
localise(document);
startPreviews(document);
setInterval(() => localise(document), 1000);
