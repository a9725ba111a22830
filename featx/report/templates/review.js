"use strict";
// One suspicion at a time: of ten thousand only its pictures, and the next few, are held.
(() => {
  const data = JSON.parse(document.getElementById("review-data").textContent);
  const [RIGHT, IS, UNSURE, OUT] = data.answers;
  const part = (name) => document.getElementById("review-" + name);
  const images = data.images.map(([sha, path, split, label]) => ({ sha, path, split, label }));
  const items = data.items.map(([kind, image, other, answer, label, detail]) => (
    { kind, image, other, answer, label, detail }));
  const AHEAD = 3, KEYED = 10, LATER = 250, SOON = 30; // pictures, classes, milliseconds twice

  // Characters that turn the direction of writing, or that nobody sees, are named.
  const show = (text) => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu,
    (c) => "\\u" + c.codePointAt(0).toString(16).padStart(4, "0"));
  const classes = new Set(data.classes);
  const copies = new Map();
  images.forEach((one, i) => copies.set(one.sha, [...(copies.get(one.sha) || []), i]));

  // -- pictures: they lie behind this script, some in a block, which is read when it is asked for
  const READ = 8, blocks = new Map();
  const loading = () => document.readyState === "loading";
  // The address of an image's picture; "" where it has none, undefined where it is still to come.
  const find = (image) => {
    const k = Math.floor(image / data.together);
    if (!blocks.has(k)) {
      const block = document.getElementById("review-pictures-" + k);
      if (loading() && !(block && block.nextElementSibling)) return undefined;
      if (blocks.size === READ) blocks.delete(blocks.keys().next().value);
      blocks.set(k, JSON.parse(block.textContent));
    }
    return blocks.get(k)[image % data.together];
  };

  // -- answers, by image: answer, label, what it was, and the suspicion it was seen under
  const given = new Map(), steps = [], kept = [];
  for (const row of data.earlier) {
    const [sha, , was, answer, label, kind] = row;
    const here = answer === OUT ? [] : copies.get(sha) || []; // what is left out is not here
    if (!here.length) kept.push(row);
    for (const i of here) given.set(i, { answer, label, was, kind });
  }
  // One content is one thing, whatever its copies are called; but one copy alone may be left out.
  const give = (item, answer, label) => {
    const first = item.image, meant = answer === RIGHT ? images[first].label : label;
    const before = [];
    for (const i of answer === OUT ? [first] : copies.get(images[first].sha)) {
      const old = given.get(i), was = images[i].label;
      if (i !== first && old && old.answer === OUT) continue;
      before.push([i, old]);
      const known = answer === IS || answer === RIGHT ? (meant === was && was ? RIGHT : IS) : answer;
      given.set(i, { answer: known, label: known === IS ? meant : "", was, kind: item.kind });
    }
    steps.push({ item, before });
    unsaved = true;
    keepLater();
  };
  const undo = () => {
    const step = steps.pop();
    if (!step) return say("There is nothing to undo.");
    for (const [i, old] of step.before) old ? given.set(i, old) : given.delete(i);
    unsaved = true;
    keepLater();
    if (!list.includes(step.item)) list.splice(at, 0, step.item);
    at = list.indexOf(step.item);
    draw("Undone. ");
  };
  const tell = (one) => (one.answer === IS ? "is " + show(one.label) : one.answer);

  // -- what the browser keeps, where it keeps anything
  let store = null, unsaved = false, waiting = 0;
  const name = (one) => one.sha + "/" + one.path;
  const keep = () => {
    waiting = 0;
    if (!store) return;
    const answers = [...given].map(([i, one]) => (
      [name(images[i]), one.answer, one.label, one.was, one.kind]));
    const filters = ["kind", "label", "state"].map((each) => part(each).value);
    const place = [...filters, items.indexOf(list[at])];
    try {
      store.setItem(data.key, JSON.stringify({ answers, place }));
    } catch {
      forget();
    }
  };
  const keepLater = () => {
    if (!waiting) waiting = setTimeout(keep, LATER);
  };
  const forget = () => {
    store = null;
    part("kept").textContent =
      "This browser keeps nothing of this page: save the answers before you close it.";
  };
  const remember = () => {
    try {
      store = window.localStorage;
      const found = JSON.parse(store.getItem(data.key) || "null");
      store.setItem(data.key + "?", "");
      store.removeItem(data.key + "?");
      if (!found) return null;
      const places = new Map(images.map((one, i) => [name(one), i]));
      given.clear();
      for (const [key, answer, label, was, kind] of found.answers) {
        if (places.has(key)) given.set(places.get(key), { answer, label, was, kind });
      }
      return found.place;
    } catch {
      forget();
      return null;
    }
  };

  // -- what is looked at
  let list = [], at = 0, ahead = [];
  const choose = () => {
    const kind = part("kind").value, label = part("label").value, state = part("state").value;
    const now = list[at];
    list = items.filter((one) =>
      (!kind || one.kind === kind) && (!label || images[one.image].label === label.slice(1)) &&
      (!state || given.has(one.image) === (state === "done")));
    at = Math.max(0, list.indexOf(now));
  };
  const fill = (box, place) => {
    const image = images[place];
    box.hidden = !image;
    if (!image) return;
    const picture = box.querySelector("img"), missing = box.querySelector(".missing");
    const source = find(place), path = show(image.path);
    picture.hidden = !source;
    missing.hidden = Boolean(source);
    missing.textContent = source === "" ? "no picture of " + path : "…";
    if (source && picture.getAttribute("src") !== source) picture.src = source;
    picture.alt = path;
    box.querySelector(".now").textContent = image.label ? show(image.label) : "no label";
    box.querySelector(".tag-inline").textContent = image.split;
    box.querySelector(".file").textContent = path;
    return source === undefined;
  };
  const fillAll = () => {
    const item = list[at];
    if (!item) return;
    const come = [fill(part("first"), item.image), fill(part("other"), item.other)];
    if (come.some(Boolean)) setTimeout(fillAll, SOON);
    ahead = list.slice(at + 1, at + 1 + AHEAD).flatMap((next) =>
      [next.image, next.other].filter((each) => each >= 0 && find(each)).map((each) => {
        const picture = new Image();
        picture.src = find(each);
        return picture;
      }));
  };
  const draw = (said = "") => {
    const item = list[at], one = item && given.get(item.image);
    part("stage").hidden = !item;
    part("none").hidden = Boolean(item);
    const done = list.filter((each) => given.has(each.image)).length;
    part("progress").max = Math.max(1, list.length);
    part("progress").value = done;
    part("count").textContent = `${done} of ${list.length} answered here; ${sayAll()} in all.`;
    if (!item) return say(said + "No suspicion is of that kind.");
    part("place").textContent = `${at + 1} of ${list.length}: ${data.kinds[item.kind]}`;
    fillAll();
    part("detail").textContent = show(item.detail);
    const offer = item.answer && tell(item);
    part("take").hidden = !offer;
    part("offer").textContent = offer || "";
    for (const button of part("stage").querySelectorAll("[data-answer]")) {
      const label = button.dataset.label;
      const same = one && one.answer === button.dataset.answer;
      const pressed = Boolean(same) && (label === undefined || one.label === label);
      button.setAttribute("aria-pressed", String(pressed));
    }
    part("answer").textContent = one ? "Answer: " + tell(one) : "Not answered yet.";
    const image = images[item.image];
    const hint = offer ? `, suggestion: ${offer}` : "";
    const known = one ? `, answered: ${tell(one)}` : "";
    const label = `label ${show(image.label) || "none"}`;
    say(`${said}${at + 1} of ${list.length}: ${show(image.path)}, ${label}${hint}${known}.`);
  };
  const sayAll = () => {
    const n = given.size + kept.length;
    return n + (n === 1 ? " answer" : " answers");
  };
  const say = (text) => {
    part("status").textContent = text;
  };
  const move = (by, said) => {
    const to = Math.min(Math.max(at + by, 0), Math.max(0, list.length - 1));
    if (to === at && by) said = (said || "") + (by > 0 ? "This is the last one. " : "This is the first one. ");
    at = to;
    keepLater();
    draw(said);
  };
  const answer = (word, label = "") => {
    const item = list[at];
    if (!item) return;
    if (word === RIGHT && !images[item.image].label) return say("It has no label that could be right.");
    give(item, word, label);
    const fresh = word === IS && !classes.has(label) ? ", a new class" : "";
    move(1, `${show(images[item.image].path)} ${tell(given.get(item.image))}${fresh}. `);
  };
  const take = () => {
    const item = list[at];
    if (item && item.answer) answer(item.answer, item.label);
  };
  const typed = () => {
    const label = part("class").value.trim().normalize("NFC");
    if (!label) return;
    part("class").value = "";
    answer(IS, label);
  };

  // -- the file
  const quote = (value) =>
    (/[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value);
  const save = () => {
    const rows = [...given].sort(([a], [b]) => a - b).map(([i, one]) =>
      [images[i].sha, images[i].path, one.was, one.answer, one.label, one.kind]);
    const lines = [data.columns, ...kept, ...rows].map((row) => row.map(quote).join(",") + "\n");
    const text = lines.join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = data.saves;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
    say(`${sayAll()} saved as ${data.saves}.`);
  };

  // -- hands
  const option = (box, value, text) => {
    const one = document.createElement("option");
    one.value = value;
    one.textContent = text;
    box.append(one);
  };
  for (const [kind, what] of Object.entries(data.kinds)) {
    option(part("kind"), kind, `${kind}: ${what} (${items.filter((one) => one.kind === kind).length})`);
  }
  for (const label of [...new Set(items.map((one) => images[one.image].label))].sort()) {
    option(part("label"), "=" + label, show(label) || "no label");
  }
  data.classes.forEach((label, i) => {
    option(part("classes"), label, show(label));
    if (data.classes.length > KEYED) return;
    const button = document.createElement("button");
    button.type = "button";
    Object.assign(button.dataset, { answer: IS, label });
    const key = document.createElement("kbd");
    key.textContent = (i + 1) % 10;
    button.setAttribute("aria-keyshortcuts", key.textContent);
    button.append(key, " " + show(label));
    part("buttons").append(button);
  });
  const keys = {
    r: () => answer(RIGHT), u: () => answer(UNSURE), x: () => answer(OUT), s: take, z: undo,
    c: () => part("class").focus(), ArrowLeft: () => move(-1), ArrowRight: () => move(1),
  };
  const review = document.getElementById("review");
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    const elsewhere = !review.contains(target) && target.matches("a, button, input, select, .scroll");
    if (elsewhere || event.ctrlKey || event.altKey || event.metaKey || !part("keys").checked) return;
    if (target.matches("select, input:not([type=checkbox])")) return;
    const known = keys[key.length === 1 ? key.toLowerCase() : key];
    const keyed = data.classes.length <= KEYED && /^\d$/.test(key);
    const digit = keyed ? data.classes[(Number(key) + 9) % 10] : undefined;
    if (!known && digit === undefined) return;
    event.preventDefault();
    known ? known() : answer(IS, digit);
  });
  part("stage").addEventListener("click", (event) => {
    const button = event.target.closest("[data-answer]");
    if (button) answer(button.dataset.answer, button.dataset.label);
  });
  part("type").addEventListener("submit", (event) => {
    event.preventDefault();
    typed();
  });
  part("class").addEventListener("keydown", (event) => {
    if (event.key === "Escape") part("next").focus();
  });
  for (const [name, act] of Object.entries({ take, undo, save, back: keys.ArrowLeft, next: keys.ArrowRight })) {
    part(name).addEventListener("click", act);
  }
  for (const name of ["kind", "label", "state"]) {
    part(name).addEventListener("change", () => {
      choose();
      keepLater();
      draw();
    });
  }
  window.addEventListener("pagehide", keep);
  window.addEventListener("beforeunload", (event) => {
    if (unsaved && !store) event.preventDefault();
  });

  const place = remember();
  if (place) {
    ["kind", "label", "state"].forEach((name, i) => { part(name).value = place[i]; });
  } else if ("label" in data.kinds) part("kind").value = "label";
  for (const name of ["kind", "label"]) if (part(name).selectedIndex < 0) part(name).value = "";
  choose();
  if (place && items[place[3]]) at = Math.max(0, list.indexOf(items[place[3]]));
  document.documentElement.classList.add("scripted");
  review.hidden = false;
  draw();
})();
