// Pictures open large in a dialog: zoom, pan, step through; a series steps through its frames where it stands.
const PLAY_MS = 250;
const MAX_SCALE = 16;

export function start(root) {
  for (const figure of root.querySelectorAll("figure.series:not([data-started])")) startSeries(figure);
  for (const link of root.querySelectorAll("a[data-image]:not([data-started])")) {
    link.dataset.started = "";
    link.addEventListener("click", (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      open(link);
    });
    link.querySelector("img").addEventListener("error", () => link.classList.add("broken"));
  }
}

// All pictures of a panel, frames of a series included, in their order.
function picturesAround(link) {
  const gallery = link.closest(".gallery") ?? link.parentElement;
  return [...gallery.querySelectorAll("a[data-image], a[data-frame]")]
    .filter((one) => one.dataset.frame || !one.closest(".series"))
    .map((one) => ({ url: one.dataset.image ?? one.dataset.frame, page: one.href, name: nameOf(one) }));
}

function nameOf(link) {
  return link.querySelector("img")?.alt ?? link.textContent;
}

function open(link) {
  const pictures = picturesAround(link);
  const box = new Lightbox(pictures, Math.max(0, pictures.findIndex((one) => one.url === link.dataset.image)));
  box.dialog.addEventListener("close", () => {
    box.dialog.remove();
    // The page may have put another one in its place meanwhile.
    const twin = [...document.querySelectorAll("a[data-image]")].find((one) => one.href === link.href);
    (link.isConnected ? link : twin)?.focus();
  });
  document.body.append(box.dialog);
  box.dialog.showModal();
}

class Lightbox {
  constructor(pictures, place) {
    this.pictures = pictures;
    this.place = place;
    this.dialog = element("dialog", { className: "lightbox", ariaLabel: "Picture" });
    this.image = element("img", { alt: "", draggable: false });
    this.stage = element("div", { className: "stage" }, this.image);
    this.name = element("bdi", { className: "path" });
    this.page = element("a", { textContent: "Page of this file" });
    this.count = element("span", { className: "tally" });
    this.zoomed = element("span", { className: "tally" });
    const isAlone = pictures.length < 2;
    this.dialog.append(
      element(
        "header",
        {},
        element("p", { className: "caption", ariaLive: "polite" }, this.name, this.count),
        this.page,
        this.zoomed,
        button("−", "Smaller (−)", () => this.zoom(1 / 1.5)),
        button("+", "Larger (+)", () => this.zoom(1.5)),
        button("×", "Close (Escape)", () => this.dialog.close()),
      ),
      this.stage,
      button("‹", "Previous picture (left arrow)", () => this.step(-1), { className: "before", hidden: isAlone }),
      button("›", "Next picture (right arrow)", () => this.step(1), { className: "after", hidden: isAlone }),
    );
    this.dialog.addEventListener("keydown", (event) => this.press(event));
    this.stage.addEventListener("wheel", (event) => this.roll(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    this.image.addEventListener("error", () => this.dialog.classList.add("broken"));
    this.image.addEventListener("load", () => this.dialog.classList.remove("broken"));
    this.show();
  }

  show() {
    const { url, page, name } = this.pictures[this.place];
    this.image.src = url;
    this.image.alt = name;
    this.name.textContent = name;
    this.page.href = page;
    this.count.textContent = `${this.place + 1} of ${this.pictures.length}`;
    this.view(1, 0, 0);
  }

  step(by) {
    this.place = (this.place + by + this.pictures.length) % this.pictures.length;
    this.show();
  }

  // Where the picture stands: `x` and `y` in pixels from the middle.
  view(scale, x, y) {
    this.scale = Math.min(MAX_SCALE, Math.max(1, scale));
    [this.x, this.y] = this.scale === 1 ? [0, 0] : [x, y];
    this.image.style.setProperty("transform", `translate(${this.x}px, ${this.y}px) scale(${this.scale})`);
    this.zoomed.textContent = `${Math.round(100 * this.scale)} %`;
    this.stage.classList.toggle("zoomed", this.scale > 1);
  }

  // What lies `left` and `top` of the middle stays where it is.
  zoom(by, left = 0, top = 0) {
    const scale = Math.min(MAX_SCALE, Math.max(1, this.scale * by));
    const grown = scale / this.scale;
    this.view(scale, left - (left - this.x) * grown, top - (top - this.y) * grown);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = 60;
    const acts = {
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      ArrowUp: () => this.view(this.scale, this.x, this.y + pan),
      ArrowDown: () => this.view(this.scale, this.x, this.y - pan),
      Home: () => this.step(-this.place),
      End: () => this.step(this.pictures.length - 1 - this.place),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.view(1, 0, 0),
    };
    if (!(event.key in acts)) return;
    event.preventDefault();
    event.stopPropagation();
    acts[event.key]();
  }

  roll(event) {
    event.preventDefault();
    const { left, top } = this.fromMiddle(event);
    this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, left, top);
  }

  // A press that does not move is a click: it zooms in there, or back.
  grab(event) {
    if (event.button) return;
    event.preventDefault();
    const from = { x: event.clientX - this.x, y: event.clientY - this.y };
    let hasMoved = false;
    this.stage.setPointerCapture(event.pointerId);
    const drag = (moved) => {
      hasMoved ||= Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) > 4;
      if (hasMoved && this.scale > 1) this.view(this.scale, moved.clientX - from.x, moved.clientY - from.y);
    };
    const drop = () => {
      this.stage.removeEventListener("pointermove", drag);
      if (hasMoved) return;
      const { left, top } = this.fromMiddle(event);
      if (this.scale > 1) this.view(1, 0, 0);
      else this.zoom(2.5, left, top);
    };
    this.stage.addEventListener("pointermove", drag);
    this.stage.addEventListener("pointerup", drop, { once: true });
  }

  fromMiddle(event) {
    const stage = this.stage.getBoundingClientRect();
    return { left: event.clientX - stage.left - stage.width / 2, top: event.clientY - stage.top - stage.height / 2 };
  }
}

function startSeries(figure) {
  figure.dataset.started = "";
  const link = figure.querySelector("a[data-image]");
  const image = link.querySelector("img");
  const frames = [...figure.querySelectorAll("a[data-frame]")];
  const slider = element("input", { type: "range", min: 0, max: frames.length - 1, value: 0, ariaLabel: "Picture of the series" });
  const told = element("output", { className: "tally" });
  const play = button("Play", "Play the series", toggle, { className: "play" });
  let timer = 0;
  figure.querySelector("figcaption").after(element("div", { className: "steps" }, play, slider, told));
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  show(Math.min(Number(figure.dataset.place ?? 0), frames.length - 1));

  function show(place) {
    slider.value = figure.dataset.place = place;
    const frame = frames[place];
    image.src = frame.dataset.frame;
    image.alt = frame.textContent;
    link.href = frame.href;
    link.dataset.image = frame.dataset.frame;
    told.textContent = `${place + 1} of ${frames.length}`;
    slider.setAttribute("aria-valuetext", `${frame.textContent}, ${told.textContent}`);
  }

  function toggle() {
    if (timer) {
      stop();
      return;
    }
    play.textContent = "Pause";
    if (Number(slider.value) === frames.length - 1) show(0);
    timer = setInterval(advance, PLAY_MS);
  }

  // A frame stays until it is there, so that slow pictures are not skipped.
  function advance() {
    if (!figure.isConnected) stop();
    if (!image.complete) return;
    if (Number(slider.value) === frames.length - 1) stop();
    else show(Number(slider.value) + 1);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }
}

function button(text, label, act, more = {}) {
  const made = element("button", { type: "button", textContent: text, ariaLabel: label, title: label, ...more });
  made.addEventListener("click", act);
  return made;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
